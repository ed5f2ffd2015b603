package kfd

import (
	"fmt"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

// Place is the PCI address of a node, and the number of the partition there that it
// is; known reports whether the bus has a GPU at an address.
//
// KFD keeps bus, device and function in location_id. Drivers since Linux 6.9 keep the
// partition in its bits 28 to 31; those before it added the partition to the function.
func (n *Node) Place(known func(address string) bool) (address string, partition int) {
	location := n.Properties["location_id"]
	domain := n.Properties["domain"] & 0xffffffff
	bus, dev, function := location>>8&0xff, location>>3&0x1f, location&7
	at := func(function uint64) string { return fmt.Sprintf("%04x:%02x:%02x.%x", domain, bus, dev, function) }
	partition = int(location >> 28 & 0xf)
	if function == 0 || known(at(function)) {
		return at(function), partition
	}
	if n.partitions() || known(at(0)) {
		return at(0), max(partition, int(function))
	}
	return at(function), partition
}

// partitions reports whether the GPU is of an architecture that can be partitioned:
// gfx940 to gfx950.
func (n *Node) partitions() bool {
	v := n.Properties["gfx_target_version"]
	return v >= 90400 && v < 90600
}

// Architecture is the name that compilers use: 90402 is gfx942, 90010 gfx90a. "" if
// the driver does not say.
func (n *Node) Architecture() string {
	v := n.Properties["gfx_target_version"]
	if v == 0 || v > 999999 {
		return ""
	}
	return fmt.Sprintf("gfx%d%x%x", v/10000, v/100%100, v%100)
}

// Units is the number of compute units, 0 if unknown.
func (n *Node) Units() int {
	simds, per := n.Properties["simd_count"], n.Properties["simd_per_cu"]
	if per == 0 || simds/per > 1<<20 {
		return 0
	}
	return int(simds / per)
}

// Memory is the memory of the node in bytes, 0 if unknown. system tells that it is the
// machine's own: a node of processors and GPU together has no other.
func (n *Node) Memory() (bytes int64, system bool) {
	var own, shared int64
	for _, b := range n.Banks {
		switch b.Heap {
		case heapPublic, heapPrivate:
			own += b.Size
		case heapSystem:
			shared += b.Size
		}
	}
	if own > 0 {
		return own, false
	}
	if n.Properties["cpu_cores_count"] > 0 {
		return shared, shared > 0
	}
	if size := n.Properties["local_mem_size"]; size > 0 && size < 1<<60 { // of old drivers
		return int64(size), false
	}
	return 0, false
}

// Fabric is the network of XGMI links that the node is in, nil if it is in none. The
// number of a hive is above the greatest int64, so it is told in hex.
func (n *Node) Fabric() *device.Fabric {
	hive := n.Properties["hive_id"]
	if hive == 0 {
		return nil
	}
	return &device.Fabric{Type: "xgmi", Domain: strconv.FormatUint(hive, 16)}
}

// unique writes the number that a vendor gave a GPU as amdgpu does, in 16 hex digits;
// "" if it has none.
func unique(v uint64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", v)
}

// Unique reads the number of a GPU as programs and files write it: hex, with or
// without 0x. It returns 16 hex digits, or "" if it is none.
func Unique(s string) string {
	s = strings.TrimPrefix(strings.ToLower(strings.TrimSpace(s)), "0x")
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return ""
	}
	return unique(v)
}
