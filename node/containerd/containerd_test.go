package containerd

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/system/layout"
)

var update = flag.Bool("update", false, "rewrite testdata")

func cloud(t *testing.T, dir string) layout.Cloud {
	t.Helper()
	cfg, err := layout.ReadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Network.CIDR = "10.83.0.0/16"
	c, err := layout.New(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfig(t *testing.T) {
	for name, o := range map[string]Options{
		"plain": {Libexec: "/usr/libexec/polder"},
		"kata":  {Libexec: "/usr/libexec/polder", Kata: "/opt/kata/bin/containerd-shim-kata-v2", KeepOOMScore: true},
	} {
		t.Run(name, func(t *testing.T) {
			got := config(cloud(t, "/var/lib/polder-golden"), o)
			golden := filepath.Join("testdata", name+".toml")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("if it is meant: go test ./node/containerd -update (-want +got):\n%s", d)
			}
			tables(t, got)
		})
	}
}

// tables checks what a reader of TOML would refuse in what we write: a table that
// is there twice, a line that is neither table nor key, a key that is there twice.
func tables(t *testing.T, text string) {
	t.Helper()
	seen := map[string]bool{}
	table, open := "", false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, value, isKey := strings.Cut(line, " = ")
		switch {
		case open:
			open = line != "]"
			continue
		case line == "":
			continue
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			table = line
			key = ""
		case !isKey:
			t.Errorf("%q is neither a table nor a key", line)
		case value == "[":
			open = true
		}
		if id := table + key; seen[id] {
			t.Errorf("%s %s is there twice", table, key)
		} else {
			seen[id] = true
		}
	}
}

func TestFiles(t *testing.T) {
	c := cloud(t, t.TempDir())
	if err := os.MkdirAll(c.Path("etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Files(c, Options{Libexec: "/l"}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(c.Path("etc", "certs.d", "registry.polder.internal", "hosts.toml"))
	if err != nil {
		t.Fatal(err)
	}
	want := `server = "https://10.83.255.2:5000"

[host."https://10.83.255.2:5000"]
  capabilities = ["pull", "resolve"]
  ca = "` + c.Cert("ca") + `"
  client = [["` + c.Cert("registry-reader") + `", "` + c.Key("registry-reader") + `"]]
`
	if d := cmp.Diff(want, string(b)); d != "" {
		t.Errorf("the node may pull, and with the reader's certificate only (-want +got):\n%s", d)
	}
	args := Command(c, Options{Libexec: "/l"})
	if args[0] != "/l/containerd" || args[len(args)-1] != c.Path("etc", "containerd.toml") {
		t.Errorf("%q", args)
	}
	if info, err := os.Stat(c.Path("etc", "containerd.toml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
