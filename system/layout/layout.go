// Package layout says where everything of a cloud lies: its paths, names and
// addresses, all derived from the data directory, so that two clouds can share a
// machine. It is pure; system and the edges import it, so that they agree without
// knowing each other. It creates nothing.
package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Ports on the node's address. Clouds do not collide, since each has its own.
const (
	PortAPI          = 6443
	PortEtcd         = 2379
	PortRegistry     = 5000
	PortKubelet      = 10250
	PortKubeletOK    = 10248
	PortManager      = 10257
	PortScheduler    = 10259
	PortProxyOK      = 10256
	PortProxy        = 10249
	PortDNS          = 53
	PortDNSReady     = 8181
	PortDNSMetrics   = 9153
	PortControl      = 8443 // Polder's controllers: metrics
	PortControlOK    = 8081 // and health
	PortDevices      = 8444 // the driver of devices: metrics
	PortDevicesOK    = 8082 // and health
	PortStore        = 9000
	PortStoreMetrics = 8445
	PortStoreOK      = 8083

	PortGateway        = 9443
	PortGatewayMetrics = 8446
	PortGatewayOK      = 8084
)

// Cloud is one cloud on this machine.
type Cloud struct {
	// Dir is the data directory, absolute. Reset removes it.
	Dir string
	// ID is eight hexadecimal digits that tell this cloud from another.
	ID     string
	Config Config
	// CIDR is the cloud's /16; the rest is cut from it.
	CIDR netip.Prefix
}

// New returns the cloud of a data directory.
func New(dir string, cfg Config) (Cloud, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Cloud{}, fmt.Errorf("data directory %s: %w", dir, err)
	}
	if abs == "/" {
		return Cloud{}, fmt.Errorf("data directory %s cannot be the root of the file system; name another with --data-dir", dir)
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	sum := sha256.Sum256([]byte(abs))
	c := Cloud{Dir: abs, ID: hex.EncodeToString(sum[:4]), Config: cfg}
	cidr := cfg.Network.CIDR
	if cidr == "" {
		cidr = fmt.Sprintf("10.%d.0.0/16", 64+int(sum[4])%128)
	}
	if c.CIDR, err = netip.ParsePrefix(cidr); err != nil {
		return Cloud{}, fmt.Errorf("network.cidr: %w", err)
	}
	return c, nil
}

// Path is a path below the data directory.
func (c Cloud) Path(elem ...string) string {
	return filepath.Join(append([]string{c.Dir}, elem...)...)
}

// Run is a path below the directory of what does not outlive a boot.
func (c Cloud) Run(elem ...string) string {
	return filepath.Join(append([]string{"/run/polder-" + c.ID}, elem...)...)
}

// Cert and Key are the files of a pair in the cluster's authority.
func (c Cloud) Cert(name string) string { return c.Path("pki", name+".crt") }

// Key is the key file beside Cert.
func (c Cloud) Key(name string) string { return c.Path("pki", name+".key") }

// Kubeconfig is the file that component name reaches the API server with.
func (c Cloud) Kubeconfig(name string) string { return c.Path("etc", name+".kubeconfig") }

// AdminKubeconfig is the administrator's.
func (c Cloud) AdminKubeconfig() string { return c.Path("admin.kubeconfig") }

// RegistryDir is where the registry keeps files.
func (c Cloud) RegistryDir() string { return c.Path("registry") }

// RegistrySecret is the file of the key by which the registry reaches its bucket, and
// RegistryStore the socket where.
func (c Cloud) RegistrySecret() string { return c.Path("pki", "registry.secret") }

// RegistryStore is beside RegistrySecret.
func (c Cloud) RegistryStore() string { return c.Path("store", "registry.sock") }

// Log is the log file of component name.
func (c Cloud) Log(name string) string { return c.Path("logs", name+".log") }

// Socket is where the supervisor answers `polder status` and `polder down`.
func (c Cloud) Socket() string { return c.Run("polder.sock") }

// CDI is the directory of what containers need of the devices they are given.
func (c Cloud) CDI() string { return c.Run("cdi") }

// ContainerdSocket is where containerd answers.
func (c Cloud) ContainerdSocket() string { return c.Run("containerd.sock") }

// Netns is the name of the cloud's network namespace.
func (c Cloud) Netns() string { return "polder-" + c.ID }

// NetnsPath is its file.
func (c Cloud) NetnsPath() string { return filepath.Join("/run/netns", c.Netns()) }

// HostLink is the host's end of the cable into the namespace.
func (c Cloud) HostLink() string { return "polder" + c.ID }

// Table is the name of the cloud's nftables table on the host.
func (c Cloud) Table() string { return "polder-" + c.ID }

// Cgroup is the root of the cloud's cgroups, in every hierarchy.
func (c Cloud) Cgroup() string { return "/polder-" + c.ID }

func (c Cloud) addr(x, y byte) netip.Addr {
	b := c.CIDR.Addr().As4()
	return netip.AddrFrom4([4]byte{b[0], b[1], x, y})
}

// HostIP is the host's end of the cable; CoreDNS listens there.
func (c Cloud) HostIP() netip.Addr { return c.addr(255, 1) }

// NodeIP is the node's address, in the namespace.
func (c Cloud) NodeIP() netip.Addr { return c.addr(255, 2) }

// PodCIDR holds the pods.
func (c Cloud) PodCIDR() netip.Prefix { return netip.PrefixFrom(c.addr(0, 0), 17) }

// ServiceCIDR holds the services.
func (c Cloud) ServiceCIDR() netip.Prefix { return netip.PrefixFrom(c.addr(128, 0), 18) }

// APIServiceIP is the address of the service kubernetes.default.
func (c Cloud) APIServiceIP() netip.Addr { return c.addr(128, 1) }

// DNSServiceIP is the address of the service kube-dns.
func (c Cloud) DNSServiceIP() netip.Addr { return c.addr(128, 10) }

// At is a host:port on the node.
func (c Cloud) At(port int) string { return fmt.Sprintf("%s:%d", c.NodeIP(), port) }

// APIURL is where the API server answers.
func (c Cloud) APIURL() string { return "https://" + c.At(PortAPI) }

// RegistryURL is where the registry answers.
func (c Cloud) RegistryURL() string { return "https://" + c.At(PortRegistry) }

// StoreURL is where the object store answers.
func (c Cloud) StoreURL() string { return "https://" + c.At(PortStore) }

// GatewayURL is where the gateway answers.
func (c Cloud) GatewayURL() string { return "https://" + c.At(PortGateway) }

// IP turns an address into the type that package net wants.
func IP(a netip.Addr) net.IP { return net.IP(a.AsSlice()) }

// Libexec is the directory of the helper binaries that belong to program: beside it in a
// build, one up in an installation.
func Libexec(program string) (string, error) {
	dir := filepath.Dir(program)
	for _, d := range []string{filepath.Join(dir, "libexec", "polder"), filepath.Join(filepath.Dir(dir), "libexec", "polder")} {
		if _, err := os.Stat(filepath.Join(d, "containerd")); err == nil {
			return d, nil
		}
	}
	return "", fmt.Errorf("the helper binaries are not at %s/libexec/polder; unpack the whole release, or run `make build`", dir)
}

func hostName() string {
	h, err := os.Hostname()
	h = strings.ToLower(h)
	if err != nil || !nodeName.MatchString(h) {
		return "node"
	}
	return h
}
