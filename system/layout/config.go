package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"

	"sigs.k8s.io/yaml"

	"polder.dev/polder/internal/usage"
)

// Config is the cloud's configuration file, polder.dev/v1alpha1 CloudConfig. All
// fields may be left out. docs/formats/config.md is its page.
type Config struct {
	APIVersion string          `json:"apiVersion,omitempty"` // polder.dev/v1alpha1
	Kind       string          `json:"kind,omitempty"`       // CloudConfig
	Node       NodeConfig      `json:"node,omitempty"`
	Network    NetworkConfig   `json:"network,omitempty"`
	Scheduler  SchedulerConfig `json:"scheduler,omitempty"`
	Sandbox    SandboxConfig   `json:"sandbox,omitempty"`
	Storage    StorageConfig   `json:"storage,omitempty"`
	Registry   RegistryConfig  `json:"registry,omitempty"`
	Logs       LogsConfig      `json:"logs,omitempty"`
}

// NodeConfig is about this machine as a node.
type NodeConfig struct {
	Name string `json:"name,omitempty"` // default: the host name, in lower case
	// DeviceDriver publishes the machine's accelerators. Without it that is left to
	// others: vendors' own drivers, or ours in pods. Default true.
	DeviceDriver *bool `json:"deviceDriver,omitempty"`
}

// NetworkConfig is about addresses.
type NetworkConfig struct {
	CIDR string `json:"cidr,omitempty"` // a /16 in private space; default: 10.X.0.0/16, X from the data directory
	// Egress lets pods and the node reach what the machine reaches. It is about
	// what goes out; nothing comes in either way. Default true.
	Egress *bool `json:"egress,omitempty"`
}

// PolicyStock is Kubernetes' own scheduler, without plugins of ours.
const PolicyStock = "stock"

// SchedulerConfig is about which node and which devices a pod gets.
type SchedulerConfig struct {
	Policy string `json:"policy,omitempty"` // polder (default), fgd or stock
	// WorkloadFile says what pods are expected to be like, instead of learning it.
	WorkloadFile string `json:"workloadFile,omitempty"`
}

// SandboxConfig is about gVisor.
type SandboxConfig struct {
	Platform string `json:"platform,omitempty"` // auto (default), systrap or kvm
}

// StorageConfig is about the object store.
type StorageConfig struct {
	// Disks are directories, each on a disk of its own, that the store is made on. Later
	// ones are added with `polder disk add`. Default: one below the data directory.
	Disks []string `json:"disks,omitempty"`
	// MissingDisks lets the store start although disks are away.
	MissingDisks bool `json:"missingDisks,omitempty"`
	// TiersFile lists the tiers below the disks. Default: none.
	TiersFile string `json:"tiersFile,omitempty"`
	// ProcessBytesMax is how much memory the store's process may have, apart from pages of
	// files; default 704 MiB, and 224 MiB more for each further disk.
	ProcessBytesMax int64 `json:"processBytesMax,omitempty"`
	// MemoryBytesMax of what was read stay in memory, where requests leave room; default
	// 256 MiB.
	MemoryBytesMax *int64 `json:"memoryBytesMax,omitempty"`
	// KeysFile has the keys that objects are encrypted with. Default: one for each
	// jurisdiction, made when it is first needed.
	KeysFile string `json:"keysFile,omitempty"`
	// Jurisdiction that the machine is in, for buckets that say where they may lie.
	Jurisdiction string `json:"jurisdiction,omitempty"`
}

// storeBytesMin is the least memory of a store on one disk. On more the store itself says
// what is too little.
const storeBytesMin = 320 << 20

// Where the registry keeps what is pushed.
const (
	RegistryFiles   = "files"
	RegistryObjects = "objects"
)

// RegistryConfig is about the registry of images and models.
type RegistryConfig struct {
	Storage string `json:"storage,omitempty"` // files (default) or objects, in a bucket of the object store
}

// LogsConfig limits the log of each component.
type LogsConfig struct {
	FileBytesMax int64 `json:"fileBytesMax,omitempty"` // default 10 MiB
	Files        int   `json:"files,omitempty"`        // rotated files kept; default 3
}

var nodeName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$`)

// ReadConfig reads the file at path; an empty path is an empty file. Unknown
// fields are refused. The result has all defaults that do not depend on the
// data directory.
func ReadConfig(path string) (Config, error) {
	var c Config
	if path != "" {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return c, fmt.Errorf("configuration %s does not exist; create it, or leave --config out", path)
		}
		if err != nil {
			return c, fmt.Errorf("reading configuration: %w", err)
		}
		if err := yaml.UnmarshalStrict(b, &c); err != nil {
			return c, fmt.Errorf("configuration %s: %w", path, usage.Line(err))
		}
	}
	if err := c.complete(); err != nil {
		return c, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

func (c *Config) complete() error {
	if c.APIVersion != "" && c.APIVersion != "polder.dev/v1alpha1" {
		return fmt.Errorf("apiVersion %q is not known; write polder.dev/v1alpha1", c.APIVersion)
	}
	if c.Kind != "" && c.Kind != "CloudConfig" {
		return fmt.Errorf("kind %q is not a configuration; write CloudConfig", c.Kind)
	}
	if c.Node.Name == "" {
		c.Node.Name = hostName()
	}
	if !nodeName.MatchString(c.Node.Name) {
		return fmt.Errorf("node.name %q is not a DNS name; use at most 63 of a-z, 0-9, '-' and '.'", c.Node.Name)
	}
	if c.Network.CIDR != "" {
		p, err := netip.ParsePrefix(c.Network.CIDR)
		if err != nil || p.Bits() != 16 || !p.Addr().Is4() || !p.Addr().IsPrivate() || p.Masked() != p {
			return fmt.Errorf("network.cidr %q is not an IPv4 /16 in private space; write one like 10.83.0.0/16", c.Network.CIDR)
		}
	}
	yes := true
	if c.Node.DeviceDriver == nil {
		c.Node.DeviceDriver = &yes
	}
	if c.Network.Egress == nil {
		c.Network.Egress = &yes
	}
	switch c.Scheduler.Policy {
	case "":
		c.Scheduler.Policy = "polder"
	case "polder", "fgd", PolicyStock:
	default:
		return fmt.Errorf("scheduler.policy %q is not known; write polder, fgd or stock", c.Scheduler.Policy)
	}
	if f := c.Scheduler.WorkloadFile; f != "" && !filepath.IsAbs(f) {
		return fmt.Errorf("scheduler.workloadFile %q is not an absolute path; the scheduler does not run where polder up is called", f)
	}
	for _, d := range c.Storage.Disks {
		if !filepath.IsAbs(d) {
			return fmt.Errorf("storage.disks: %q is not an absolute path; the store does not run where polder up is called", d)
		}
	}
	if f := c.Storage.TiersFile; f != "" && !filepath.IsAbs(f) {
		return fmt.Errorf("storage.tiersFile %q is not an absolute path; the store does not run where polder up is called", f)
	}
	if n := c.Storage.MemoryBytesMax; n == nil {
		size := int64(256 << 20)
		c.Storage.MemoryBytesMax = &size
	} else if *n < 0 {
		return errors.New("storage.memoryBytesMax is below 0; 0 keeps nothing in memory")
	}
	if n := c.Storage.ProcessBytesMax; n != 0 && n < storeBytesMin {
		return fmt.Errorf("storage.processBytesMax %d is too little for a store; give it %d (%d MiB) or more", n, int64(storeBytesMin), storeBytesMin>>20)
	}
	if f := c.Storage.KeysFile; f != "" && !filepath.IsAbs(f) {
		return fmt.Errorf("storage.keysFile %q is not an absolute path; the store does not run where polder up is called", f)
	}
	switch c.Registry.Storage {
	case "":
		c.Registry.Storage = RegistryFiles
	case RegistryFiles, RegistryObjects:
	default:
		return fmt.Errorf("registry.storage %q is not known; write files or objects", c.Registry.Storage)
	}
	switch c.Sandbox.Platform {
	case "":
		c.Sandbox.Platform = "auto"
	case "auto", "systrap", "kvm":
	default:
		return fmt.Errorf("sandbox.platform %q is not known; write auto, systrap or kvm", c.Sandbox.Platform)
	}
	if c.Logs.FileBytesMax == 0 {
		c.Logs.FileBytesMax = 10 << 20
	}
	if c.Logs.Files == 0 {
		c.Logs.Files = 3
	}
	if c.Logs.FileBytesMax < 1<<20 || c.Logs.Files < 0 {
		return errors.New("logs.fileBytesMax must be at least 1048576 and logs.files at least 1")
	}
	return nil
}
