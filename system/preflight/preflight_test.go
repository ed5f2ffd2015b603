package preflight

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"polder.dev/polder/system/layout"
)

// good is a machine that can run a cloud.
func good(t *testing.T) (*machine, layout.Cloud) {
	t.Helper()
	proc := t.TempDir()
	for name, text := range map[string]string{
		"filesystems": "nodev\toverlay\n",
		"meminfo":     "MemTotal:       16000000 kB\n",
		"net/udp":     "  sl  local_address rem_address\n   1: 3500007F:0035 00000000:0000 07\n",
		"net/tcp":     "   1: 00000000:0050 00000000:0000 0A\n",
	} {
		path := filepath.Join(proc, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := layout.ReadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	c, err := layout.New("/var/lib/polder", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &machine{
		arch:    "amd64",
		proc:    proc,
		cgroups: func() (int, error) { return 1, nil },
		look:    func(string) error { return nil },
		disk:    func(string) (uint64, int64, error) { return 100 << 30, 0xef53, nil },
		spaces:  func() error { return nil },
		routes:  func() ([]route, error) { return []route{{netip.MustParsePrefix("192.0.2.0/24"), "eth0"}}, nil },
	}, c
}

func TestGoodMachinePasses(t *testing.T) {
	m, c := good(t)
	for _, r := range run(context.Background(), m, c) {
		if r.Level != OK {
			t.Errorf("%+v", r)
		}
	}
}

func TestBadMachineIsTold(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(*machine, layout.Cloud)
		check string
		level Level
	}{
		"not root":      {func(m *machine, _ layout.Cloud) { m.euid = 1000 }, "root", Error},
		"riscv":         {func(m *machine, _ layout.Cloud) { m.arch = "riscv64" }, "architecture", Error},
		"no namespaces": {func(m *machine, _ layout.Cloud) { m.spaces = func() error { return errors.New("no") } }, "namespaces", Error},
		"no cgroups":    {func(m *machine, _ layout.Cloud) { m.cgroups = func() (int, error) { return 0, nil } }, "cgroups", Error},
		"no nft":        {func(m *machine, _ layout.Cloud) { m.look = func(string) error { return errors.New("no") } }, "programs", Error},
		"full disk": {func(m *machine, _ layout.Cloud) {
			m.disk = func(string) (uint64, int64, error) { return 1 << 30, 0, nil }
		}, "disk", Error},
		"small disk": {func(m *machine, _ layout.Cloud) {
			m.disk = func(string) (uint64, int64, error) { return 3 << 30, 0, nil }
		}, "disk", Warning},
		"on overlayfs": {func(m *machine, _ layout.Cloud) {
			m.disk = func(string) (uint64, int64, error) { return 99 << 30, overlayMagic, nil }
		}, "file system", Error},
		"little memory": {func(m *machine, _ layout.Cloud) { write(m, "meminfo", "MemTotal: 1000000 kB\n") }, "memory", Error},
		"range in use": {func(m *machine, c layout.Cloud) {
			m.routes = func() ([]route, error) { return []route{{c.CIDR, "wg0"}}, nil }
		}, "addresses", Error},
		"port 53 in use": {func(m *machine, _ layout.Cloud) { write(m, "net/udp", "1: 00000000:0035 00000000:0000 07\n") }, "name server port", Error},
	} {
		t.Run(name, func(t *testing.T) {
			m, c := good(t)
			tc.spoil(m, c)
			bad := 0
			for _, r := range run(context.Background(), m, c) {
				if r.Level == OK {
					continue
				}
				bad++
				if r.Name != tc.check || r.Level != tc.level || r.Why == "" || r.Remedy == "" {
					t.Errorf("got %+v, want %s of %s with reason and remedy", r, tc.level, tc.check)
				}
			}
			if bad != 1 {
				t.Errorf("%d checks complain, want 1", bad)
			}
		})
	}
}

func TestOwnRouteIsNoCollision(t *testing.T) {
	m, c := good(t)
	m.routes = func() ([]route, error) { return []route{{c.CIDR, c.HostLink()}}, nil }
	if found, level := addresses(context.Background(), m, c); level != OK {
		t.Error(found)
	}
}

func write(m *machine, name, text string) {
	if err := os.WriteFile(filepath.Join(m.proc, name), []byte(text), 0o600); err != nil {
		panic(err)
	}
}

func FuzzTakesPort(f *testing.F) {
	f.Add([]byte("1: 00000000:0035 00000000:0000 07\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if takesPort(b, 53) && !strings.Contains(string(b), "0035") {
			t.Error("found a port that is not there")
		}
	})
}
