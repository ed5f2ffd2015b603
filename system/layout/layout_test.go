package layout

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func cloud(t *testing.T, dir string) Cloud {
	t.Helper()
	cfg, err := ReadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTwoCloudsShareNothing(t *testing.T) {
	a, b := cloud(t, "/var/lib/polder"), cloud(t, "/tmp/other")
	for name, f := range map[string]func(Cloud) string{
		"id": func(c Cloud) string { return c.ID }, "netns": Cloud.NetnsPath, "link": Cloud.HostLink, "table": Cloud.Table,
		"cgroup": Cloud.Cgroup, "socket": Cloud.Socket, "api": Cloud.APIURL, "log": func(c Cloud) string { return c.Log("etcd") },
	} {
		if f(a) == f(b) {
			t.Errorf("both have %s %s", name, f(a))
		}
	}
	if n := len(a.HostLink()); n > 15 {
		t.Errorf("link name %s has %d bytes, the kernel takes 15", a.HostLink(), n)
	}
}

func TestAddressesLieInTheCloudsRange(t *testing.T) {
	c := cloud(t, "/x")
	if !c.CIDR.Contains(c.NodeIP()) || !c.CIDR.Contains(c.HostIP()) || !c.ServiceCIDR().Contains(c.DNSServiceIP()) || !c.ServiceCIDR().Contains(c.APIServiceIP()) {
		t.Error("an address lies outside")
	}
	if c.PodCIDR().Overlaps(c.ServiceCIDR()) || c.PodCIDR().Contains(c.NodeIP()) || c.ServiceCIDR().Contains(c.NodeIP()) {
		t.Error("ranges overlap")
	}
}

func TestReadConfigRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"unknown field":  {"network: {cidrr: 10.9.0.0/16}", "cidrr"},
		"malformed":      {"network: [", "yaml"},
		"public range":   {"network: {cidr: 8.8.0.0/16}", "network.cidr"},
		"small range":    {"network: {cidr: 10.0.0.0/24}", "network.cidr"},
		"platform":       {"sandbox: {platform: xen}", "sandbox.platform"},
		"registry":       {"registry: {storage: s3}", "registry.storage"},
		"memory":         {"storage: {processBytesMax: 1000}", "storage.processBytesMax 1000 is too little for a store; give it 335544320 (320 MiB) or more"},
		"policy":         {"scheduler: {policy: random}", "scheduler.policy"},
		"workload file":  {"scheduler: {workloadFile: w.json}", "scheduler.workloadFile"},
		"node name":      {"node: {name: A_B}", "node.name"},
		"kind":           {"kind: Pod", "kind"},
		"version":        {"apiVersion: v2", "apiVersion"},
		"tiny log files": {"logs: {fileBytesMax: 10}", "logs.fileBytesMax"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.yaml")
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := ReadConfig(path)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v must name %s and the file", err, tc.want)
			}
		})
	}
	if _, err := ReadConfig("/nowhere.yaml"); err == nil {
		t.Error("a missing file was accepted")
	}
}

func TestRootIsNoDataDirectory(t *testing.T) {
	if _, err := New("/", Config{}); err == nil {
		t.Error("accepted /")
	}
}

func TestLibexec(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "bin", "polder")
	if _, err := Libexec(program); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("without helpers: %v", err)
	}
	for _, at := range []string{filepath.Join(dir, "libexec", "polder"), filepath.Join(dir, "bin", "libexec", "polder")} {
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, "containerd"), nil, 0o755); err != nil {
			t.Fatal(err)
		}
		if got, err := Libexec(program); err != nil || got != at { // that of a build wins
			t.Errorf("got %s, %v; want %s", got, err, at)
		}
	}
}
