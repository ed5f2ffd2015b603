package amd

import (
	"slices"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/kfd"
)

// modes are the ways to partition a GPU, with how many partitions they make. CPX makes
// one of each die.
var modes = map[string]int{"spx": 1, "dpx": 2, "tpx": 3, "qpx": 4, "cpx": 0}

// mode reads a file such as current_compute_partition: "CPX"; "" if it is not there
// or says UNKNOWN.
func mode(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if _, ok := modes[s]; !ok {
		return ""
	}
	return s
}

// memoryMode is how memory is divided among partitions: "nps1" to "nps8", else "".
func memoryMode(h *device.Host, dir string) string {
	s := strings.ToLower(h.String(dir, "current_memory_partition"))
	if digit, ok := strings.CutPrefix(s, "nps"); !ok || !slices.Contains([]string{"1", "2", "4", "8"}, digit) {
		return ""
	}
	return s
}

// profile names a mode: "cpx-nps1".
func profile(compute, memory string) string {
	if memory == "" {
		return compute
	}
	return compute + "-" + memory
}

// split reports whether the GPU whose files are in dir is in partitions.
func split(h *device.Host, dir string) bool {
	m := mode(h.String(dir, "current_compute_partition"))
	return m != "" && m != "spx"
}

// partition names the mode of a partition. Without amdgpu's files it is not known: the
// number of partitions that KFD shows may not be all.
func partition(h *device.Host, f *kfd.Found) {
	m := mode(h.String(f.Dir, "current_compute_partition"))
	if f.Device.Form == device.XCP && m != "" && m != "spx" {
		f.Device.Profile = profile(m, memoryMode(h, f.Dir))
	}
}

// stacks lists what a whole GPU can be split into with its present division of memory.
// Whether partitions share memory depends on that division, so none has an amount.
func stacks(h *device.Host, f *kfd.Found) []device.Partition {
	var out []device.Partition
	memory := memoryMode(h, f.Dir)
	for m := range strings.SplitSeq(h.String(f.Dir, "available_compute_partition"), ",") {
		m = mode(m)
		count := modes[m]
		if m == "cpx" && f.Node != nil {
			count = int(min(f.Node.Properties["num_xcc"], 64))
		}
		if count < 2 || slices.ContainsFunc(out, func(p device.Partition) bool { return p.Count == count && strings.HasPrefix(p.Profile, m) }) {
			continue
		}
		out = append(out, device.Partition{Profile: profile(m, memory), Count: count, Share: 1000 / count})
	}
	return out
}
