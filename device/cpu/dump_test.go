package cpu

import (
	"path"
	"slices"
	"strings"
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

var wanted = []string{"cpuinfo", "meminfo", "online", "cpulist", "physical_package_id", "core_siblings_list", "thread_siblings_list"}

// dump has what this room reads of a copy of a machine.
func dump(t *testing.T, name string) *device.Host {
	t.Helper()
	return &device.Host{FS: devicetest.Load(t, name, func(file string) bool {
		return slices.Contains(wanted, path.Base(file)) && (strings.HasPrefix(file, "proc/") || strings.HasPrefix(file, "sys/devices/system/"))
	})}
}

// TestDumps compares with what hwloc and ghw found on the same machines, and with
// the files themselves.
func TestDumps(t *testing.T) {
	type socket struct {
		cores int
		kB    int64 // 0: not known
		numa  int
	}
	for _, c := range []struct {
		file, vendor, product, architecture string
		has, lacks                          string // instruction sets
		sockets                             []socket
	}{
		{"hwloc/linux/2pa-pcidomain32bits.tar.bz2", "intel", "Intel Core Processor (Skylake, IBRS)", "amd64", "avx2", "avx512f",
			[]socket{{1, 0, 0}, {1, 0, 0}}}, // they share a node
		{"hwloc/linux/32em64t-2n8c+dax+nvme+mic+dimms.tar.bz2", "intel", "Intel(R) Xeon(R) CPU E5-2680 0 @ 2.70GHz", "amd64", "avx", "avx2",
			[]socket{{8, 16747124, 0}, {8, 16777216, 1}}},
		{"hwloc/linux/32intel64-2p8co2t+8ve.tar.bz2", "intel", "Intel(R) Xeon(R) Silver 4108 CPU @ 1.80GHz", "amd64", "avx512f", "avx512_vnni",
			[]socket{{8, 47925628, 0}, {8, 49519964, 1}}},
		{"hwloc/linux/40intel64-2g2n4c+pcilocality.tar.bz2", "intel", "Intel(R) Xeon(R) CPU E7- 4870 @ 2.40GHz", "amd64", "", "avx",
			[]socket{{10, 134204252, 0}, {10, 134217728, 1}, {10, 134217728, 2}, {10, 134217728, 3}}},
		{"hwloc/linux/nvidia-dgx-gb10.tar.bz2", "arm", "Arm parts 0xd85, 0xd87", "arm64", "bf16", "avx2", []socket{{20, 125508468, 0}}},
		{"ghw-snapshots/linux-amd64-415ee03b8c4d1c4f07ae2e9d8b3d3d6d.tar.gz", "intel", "12th Gen Intel(R) Core(TM) i7-1270P", "amd64", "avx_vnni", "avx512f",
			[]socket{{12, 32542668, 0}}},
		{"ghw-snapshots/linux-amd64-61797caf7c0b6bca1725ad7975ed4773.tar.gz", "amd", "AMD Ryzen 5 1600 Six-Core Processor", "amd64", "avx2", "avx512f",
			[]socket{{6, 32777916, 0}}}, // its node has no meminfo
		{"ghw-snapshots/linux-amd64-8581cf3a529e5d8b97ea876eade2f60d.tar.gz", "intel", "Intel(R) Xeon(R) CPU L5640 @ 2.27GHz", "amd64", "", "avx",
			[]socket{{6, 32940968, 1}, {6, 32980312, 0}}}, // processor 0 is of socket 1
		{"ghw-snapshots/linux-amd64-accel-nvidia.tar.gz", "intel", "Intel(R) Xeon(R) CPU E5-2695 v4 @ 2.10GHz", "amd64", "avx2", "avx512f",
			[]socket{{8, 30601816, 0}}},
	} {
		t.Run(path.Base(c.file), func(t *testing.T) {
			devices, err := New().Discover(t.Context(), dump(t, c.file))
			if err != nil || len(devices) != len(c.sockets) {
				t.Fatalf("%d sockets, error %v; there are %d", len(devices), err, len(c.sockets))
			}
			for i, want := range c.sockets {
				d := devices[i]
				if d.Vendor != c.vendor || d.Product != c.product || d.Architecture != c.architecture || d.Health.State != device.Healthy {
					t.Errorf("socket %d is %+v", i, d)
				}
				if d.Units != want.cores || d.Memory != want.kB<<10 || d.NUMA == nil || *d.NUMA != want.numa {
					t.Errorf("socket %d has %d cores, %d bytes, node %v; want %+v", i, d.Units, d.Memory, d.NUMA, want)
				}
				if c.has != "" && !slices.Contains(d.Features, c.has) || slices.Contains(d.Features, c.lacks) {
					t.Errorf("socket %d has %v", i, d.Features)
				}
			}
		})
	}
}
