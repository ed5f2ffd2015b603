package cgroup

import (
	"os"
	"path/filepath"
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

func TestBelowListsTheDeepestFirst(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a", "cgroup.procs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(dir, "a", "b"), filepath.Join(dir, "a"), dir}
	if d := cmp.Diff(want, below(dir)); d != "" {
		t.Errorf("a group goes before the one it is in (-want +got):\n%s", d)
	}
	if got := below(filepath.Join(dir, "none")); len(got) != 0 {
		t.Errorf("below nothing there is %v", got)
	}
}

func TestInherit(t *testing.T) {
	for name, tc := range map[string]struct{ parent, child, want string }{
		"an empty one takes the parent's": {"0-3\n", "\n", "0-3\n"},
		"what is set stays":               {"0-3\n", "1\n", "1\n"},
		"no such file is none to fill":    {"0-3\n", "-", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			child := filepath.Join(parent, "child")
			if err := os.Mkdir(child, 0o700); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(child, "cpuset.cpus")
			if err := os.WriteFile(filepath.Join(parent, "cpuset.cpus"), []byte(tc.parent), 0o600); err != nil {
				t.Fatal(err)
			}
			if tc.child != "-" {
				if err := os.WriteFile(file, []byte(tc.child), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := inherit(parent, child, "cpuset.cpus"); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(file)
			if tc.want == "-" {
				if err == nil {
					t.Errorf("a file was made: %q", got)
				}
			} else if err != nil || string(got) != tc.want {
				t.Errorf("%q, %v; want %q", got, err, tc.want)
			}
		})
	}
	child := t.TempDir()
	if err := os.WriteFile(filepath.Join(child, "cpuset.mems"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := inherit(filepath.Join(child, "none"), child, "cpuset.mems"); err == nil {
		t.Error("a parent that is not there is no error")
	}
}

func TestParseUnescapes(t *testing.T) {
	got := parse([]byte(`25 24 0:23 / /mnt/a\040b rw - cgroup2 cgroup2 rw`))
	if d := cmp.Diff([]Hierarchy{{"/mnt/a b", true}}, got); d != "" {
		t.Error(d)
	}
}

func TestAGroupThatIsNotThereIsRemoved(t *testing.T) {
	if err := Remove("/polder-test-that-never-was"); err != nil {
		t.Error(err)
	}
	if pids, err := Processes("/polder-test-that-never-was"); err != nil || len(pids) != 0 {
		t.Errorf("%v, %v", pids, err)
	}
}
