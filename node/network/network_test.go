package network

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/system/layout"
)

func cloud(t *testing.T, dir string, egress bool) layout.Cloud {
	t.Helper()
	cfg, err := layout.ReadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Network.Egress, cfg.Network.CIDR = &egress, "10.83.0.0/16"
	c, err := layout.New(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.ID = "0badcafe"
	return c
}

// want is the table of a cloud that may reach out.
const want = `table inet polder-0badcafe
delete table inet polder-0badcafe
table inet polder-0badcafe {
	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname "polder0badcafe" ct state established,related accept
		oifname "polder0badcafe" ct state established,related accept
		iifname "polder0badcafe" accept
		oifname "polder0badcafe" drop
	}
	chain input {
		type filter hook input priority filter; policy accept;
		iifname "polder0badcafe" ct state established,related accept
		iifname "polder0badcafe" ip daddr 10.83.255.1 meta l4proto { tcp, udp } th dport 53 accept
		iifname "polder0badcafe" icmp type echo-request accept
		iifname "polder0badcafe" drop
		iifname != { "polder0badcafe", "lo" } ip daddr 10.83.0.0/16 drop
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.83.0.0/16 oifname != "polder0badcafe" masquerade
	}
}
`

func TestRules(t *testing.T) {
	if d := cmp.Diff(want, Rules(cloud(t, "/x", true))); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	closed := strings.Replace(want, "iifname \"polder0badcafe\" accept\n", "iifname \"polder0badcafe\" drop\n", 1)
	if d := cmp.Diff(closed, Rules(cloud(t, "/x", false))); d != "" {
		t.Errorf("without egress (-want +got):\n%s", d)
	}
}

// TestTheKernelTakesTheRules loads them twice, in a network namespace that goes
// away again: the second load must replace the first.
func TestTheKernelTakesTheRules(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	for _, p := range []string{"nft", "unshare"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(err)
		}
	}
	for _, egress := range []bool{true, false} {
		script := Rules(cloud(t, "/x", egress))
		cmd := exec.Command("unshare", "--net", "sh", "-ec", `cat >"$1/t"; nft -f "$1/t"; nft -f "$1/t"; nft list ruleset`, "sh", t.TempDir())
		cmd.Stdin = strings.NewReader(script)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s\n%s", err, out, script)
		}
		if n := strings.Count(string(out), "table inet"); n != 1 || strings.Count(string(out), "masquerade") != 1 {
			t.Errorf("the kernel has %d tables:\n%s", n, out)
		}
	}
}

func TestFiles(t *testing.T) {
	c := cloud(t, t.TempDir(), true)
	if err := Files(c); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(c.Path("etc", "cni", "10-polder.conflist"))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		CNIVersion, Name string
		Plugins          []struct {
			Type string
			IPAM struct {
				Type, DataDir string
				Ranges        [][]struct{ Subnet string }
			}
		}
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%v:\n%s", err, b)
	}
	if got.Name != "polder" || len(got.Plugins) != 2 || got.Plugins[0].Type != "ptp" || got.Plugins[1].Type != "portmap" {
		t.Fatalf("%+v", got)
	}
	if ipam := got.Plugins[0].IPAM; ipam.Ranges[0][0].Subnet != "10.83.0.0/17" || ipam.DataDir != c.Run("ipam") {
		t.Errorf("%+v", ipam)
	}
}
