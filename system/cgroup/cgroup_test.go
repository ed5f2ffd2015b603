package cgroup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	got := parse([]byte(`24 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw
25 24 0:23 / /sys/fs/cgroup/unified rw,nosuid shared:3 - cgroup2 cgroup2 rw
26 24 0:24 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu
26 24 0:24 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu
torn
`))
	want := []Hierarchy{{"/sys/fs/cgroup/unified", true}, {"/sys/fs/cgroup/cpu,cpuacct", false}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("25 24 0:23 / /sys/fs/cgroup rw - cgroup2 x rw\n"))
	f.Fuzz(func(_ *testing.T, b []byte) { parse(b) })
}
