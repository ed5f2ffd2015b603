package cpu

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

const (
	cpus  = "sys/devices/system/cpu"
	nodes = "sys/devices/system/node"
)

// nodesMax bounds how many nodes of memory are looked at. Linux has at most 1024.
const nodesMax = 1024

// socket is a package of processors.
type socket struct {
	id     int   // the firmware's number of it
	cpus   []int // online, in order
	cores  int   // 0 if not known
	memory int64 // bytes, 0 if not known
	numa   *int  // nil if not known, or several
	nodes  []int // whose memory that is; none: the machine's
}

// find returns the sockets by their number: as sysfs tells, else as cpuinfo does.
func find(h *device.Host, info map[int]processor) []*socket {
	sockets := bySysfs(h)
	if len(sockets) == 0 {
		sockets = byInfo(info)
	}
	out := slices.Collect(maps.Values(sockets))
	slices.SortFunc(out, func(a, b *socket) int { return cmp.Compare(a.id, b.id) })
	for _, s := range out {
		slices.Sort(s.cpus)
	}
	return out
}

// bySysfs asks one processor of each socket and of each core who its neighbours are:
// machines have hundreds.
func bySysfs(h *device.Host) map[int]*socket {
	online := list(h.String(cpus, "online"))
	if len(online) == 0 {
		online = numbered(h, cpus, "cpu", cpusMax)
	}
	left := set(online)
	sockets := map[int]*socket{}
	for _, n := range online {
		if !left[n] {
			continue
		}
		delete(left, n)
		dir := topology(n)
		id, ok := h.Int(dir, "physical_package_id")
		if !ok {
			continue // offline, if nobody says who is online
		}
		s := sockets[int(id)]
		if s == nil {
			s = &socket{id: int(id)}
			sockets[s.id] = s
		}
		s.cpus = append(s.cpus, n)
		for _, mate := range neighbours(h, dir, "core_siblings_list", "package_cpus_list") {
			if left[mate] {
				delete(left, mate)
				s.cpus = append(s.cpus, mate)
			}
		}
	}
	for _, s := range sockets {
		s.cores = cores(h, s.cpus)
	}
	return sockets
}

func cores(h *device.Host, cpus []int) int {
	left, count := set(cpus), 0
	for _, n := range cpus {
		if !left[n] {
			continue
		}
		count++
		delete(left, n)
		for _, thread := range neighbours(h, topology(n), "thread_siblings_list", "core_cpus_list") {
			delete(left, thread)
		}
	}
	return count
}

func topology(cpu int) string { return fmt.Sprintf("%s/cpu%d/topology", cpus, cpu) }

// neighbours reads a list by its old name, which all kernels have, or by its new one.
func neighbours(h *device.Host, dir string, names ...string) []int {
	for _, name := range names {
		if l := list(h.String(dir, name)); len(l) > 0 {
			return l
		}
	}
	return nil
}

// byInfo goes by proc/cpuinfo alone. Where it names no cores, as on Arm, their number
// is not known; where it names no sockets, there is one.
func byInfo(info map[int]processor) map[int]*socket {
	sockets := map[int]*socket{}
	seen := map[int]map[int]bool{}
	for _, n := range slices.Sorted(maps.Keys(info)) {
		p := info[n]
		id := max(p.socket, 0)
		s := sockets[id]
		if s == nil {
			s = &socket{id: id}
			sockets[id], seen[id] = s, map[int]bool{}
		}
		s.cpus = append(s.cpus, n)
		if p.core >= 0 {
			seen[id][p.core] = true
		}
		s.cores = len(seen[id])
	}
	return sockets
}

// memory adds to each socket the memory of the nodes that are its own. A single
// socket has all there is, if its nodes do not say.
func memory(h *device.Host, sockets []*socket) {
	home := map[int]*socket{}
	for _, s := range sockets {
		for _, n := range s.cpus {
			home[n] = s
		}
	}
	near := map[*socket][]int{}
	for _, node := range numbered(h, nodes, "node", nodesMax) {
		dir := fmt.Sprintf("%s/node%d", nodes, node)
		of := map[*socket]bool{}
		for _, n := range list(h.String(dir, "cpulist")) {
			if s := home[n]; s != nil && !of[s] {
				of[s] = true
				near[s] = append(near[s], node)
			}
		}
		for s := range of {
			if len(of) == 1 {
				s.nodes = append(s.nodes, node)
				s.memory += meminfo(h, dir)["MemTotal"]
			}
		}
	}
	for _, s := range sockets {
		if len(near[s]) == 1 {
			s.numa = &near[s][0]
		}
	}
	if len(sockets) == 1 && sockets[0].memory == 0 {
		sockets[0].memory, sockets[0].nodes = meminfo(h, "proc")["MemTotal"], nil
	}
}

// meminfo reads a file meminfo: "MemTotal: 16 kB" in proc, with "Node 0 " before it
// for a node. The values are in bytes; what is no number of kB is left out.
func meminfo(h *device.Host, dir string) map[string]int64 {
	out := map[string]int64{}
	for line := range strings.Lines(h.String(path.Join(dir, "meminfo"))) {
		words := strings.Fields(line)
		if len(words) == 5 && words[0] == "Node" {
			words = words[2:]
		}
		if len(words) != 3 || words[2] != "kB" {
			continue
		}
		if n, err := strconv.ParseInt(words[1], 10, 64); err == nil && n >= 0 && n < 1<<42 {
			out[strings.TrimSuffix(words[0], ":")] = n << 10
		}
	}
	return out
}

// list reads "0-3,8,10-11". It returns no number twice, none beyond cpusMax, and
// nothing if it is no list.
func list(s string) []int {
	var out []int
	seen := map[int]bool{}
	steps := 0
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		a := natural(first)
		b := a
		if isRange {
			b = natural(last)
		}
		if a < 0 || b < a {
			return nil
		}
		for n := a; n <= min(b, cpusMax-1); n++ {
			if steps++; steps > 4*cpusMax {
				return nil // the same over and over
			}
			if !seen[n] {
				seen[n] = true
				out = append(out, n)
			}
		}
	}
	return out
}

// numbered are the numbers of the entries "cpu0", "cpu1" of a directory, in order.
func numbered(h *device.Host, dir, prefix string, most int) []int {
	var out []int
	for _, name := range h.Dir(dir) {
		digits, ok := strings.CutPrefix(name, prefix)
		if n := natural(digits); ok && n >= 0 && n < most && strconv.Itoa(n) == digits {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

func set(l []int) map[int]bool {
	out := make(map[int]bool, len(l))
	for _, n := range l {
		out[n] = true
	}
	return out
}
