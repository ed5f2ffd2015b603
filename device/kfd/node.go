package kfd

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"

	"polder.dev/polder/device"
)

// dir is where KFD lists its nodes.
const dir = "sys/class/kfd/kfd/topology/nodes"

// What is read at most. Eight cards in partitions are 64 nodes with 64 links each.
const (
	nodesMax      = 1024
	linksMax      = 1024
	banksMax      = 64
	propertiesMax = 256
)

// Kinds of memory and of links, from the kernel's kfd_crat.h.
const (
	heapSystem  = 0
	heapPublic  = 1 // of the GPU, all of it visible to the processors
	heapPrivate = 2 // of the GPU, not visible
	linkPCIe    = 2
	linkXGMI    = 11
)

// Node is one node of KFD.
type Node struct {
	// Number of the node, by which links name it.
	Number int
	// Properties as KFD names them: vendor_id, location_id, simd_count. All are
	// numbers, some of them above the greatest int64.
	Properties map[string]uint64
	// Banks of memory, and Links to other nodes.
	Banks []Bank
	Links []Link
}

// Bank is some memory of a node.
type Bank struct {
	Heap uint64
	// Size in bytes.
	Size int64
}

// Link is a way from a node to another.
type Link struct {
	To   int
	Type uint64
	// Min is the bandwidth of one link in MB/s, Max that of all together; 0 where the
	// driver does not say.
	Min, Max uint64
}

// Read returns the nodes that compute as GPUs do, by number. The error tells of nodes
// that could not be read; none is returned where there is no KFD.
func Read(h *device.Host) ([]Node, error) {
	var nodes []Node
	var errs []error
	for i, name := range h.Dir(dir) {
		number, err := strconv.Atoi(name)
		if err != nil || number < 0 {
			continue
		}
		if i >= nodesMax {
			errs = append(errs, device.Problem{Where: "/" + dir, What: fmt.Sprintf("has more than %d nodes; the others are left out", nodesMax)})
			break
		}
		b, err := h.ReadFile(path.Join(dir, name, "properties"))
		if err != nil {
			errs = append(errs, device.Problem{Where: path.Join("/", dir, name), What: fmt.Sprintf("cannot be read (%v); if it is a GPU, its memory and links are not known; run as root", err)})
			continue
		}
		n := Node{Number: number, Properties: parse(b)}
		if n.Properties["simd_count"] == 0 {
			continue // processors
		}
		n.Banks, n.Links = banks(h, name), links(h, name)
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b Node) int { return a.Number - b.Number })
	return nodes, errors.Join(errs...)
}

// parse reads lines of a name and a number. Lines of another form are passed over.
func parse(b []byte) map[string]uint64 {
	out := map[string]uint64{}
	for line := range bytes.Lines(b) {
		fields := bytes.Fields(line)
		if len(fields) != 2 || len(out) >= propertiesMax || len(fields[0]) > 64 {
			continue
		}
		if v, err := strconv.ParseUint(string(fields[1]), 10, 64); err == nil {
			out[string(fields[0])] = v
		}
	}
	return out
}

func banks(h *device.Host, node string) []Bank {
	var out []Bank
	at := path.Join(dir, node, "mem_banks")
	names := h.Dir(at)
	for _, name := range names[:min(len(names), banksMax)] {
		b, err := h.ReadFile(path.Join(at, name, "properties"))
		if err != nil {
			continue
		}
		p := parse(b)
		if size := p["size_in_bytes"]; size > 0 && size < math.MaxInt64/banksMax {
			out = append(out, Bank{Heap: p["heap_type"], Size: int64(size)})
		}
	}
	return out
}

// links are those that the driver made and those it allows between peers.
func links(h *device.Host, node string) []Link {
	var out []Link
	for _, kind := range []string{"io_links", "p2p_links"} {
		at := path.Join(dir, node, kind)
		names := h.Dir(at)
		for _, name := range names[:min(len(names), linksMax)] {
			b, err := h.ReadFile(path.Join(at, name, "properties"))
			if err != nil {
				continue
			}
			p := parse(b)
			if to, ok := p["node_to"]; ok && to <= math.MaxInt32 {
				out = append(out, Link{To: int(to), Type: p["type"], Min: p["min_bandwidth"], Max: p["max_bandwidth"]})
			}
		}
	}
	return out
}
