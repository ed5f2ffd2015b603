package devicetest

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

// Machine is a made-up machine: files, and what its programs print.
type Machine struct {
	Files fstest.MapFS
	// Tools answer by their command line, "npu-smi info -m", or by their name alone.
	Tools map[string]string
}

// New returns an empty machine.
func New() *Machine {
	return &Machine{Files: fstest.MapFS{}, Tools: map[string]string{}}
}

// Write makes a file, with a line's end as sysfs writes it.
func (m *Machine) Write(name, content string) *Machine {
	m.Files[name] = &fstest.MapFile{Data: []byte(content + "\n"), Mode: 0o444}
	return m
}

// Symlink makes a symbolic link.
func (m *Machine) Symlink(name, to string) *Machine {
	m.Files[name] = &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777}
	return m
}

// Tool has a program print something.
func (m *Machine) Tool(command, output string) *Machine {
	m.Tools[command] = output
	return m
}

// Card is a PCI function to plug in.
type Card struct {
	// Address "0000:3b:00.0", ID "10de:2330", Sub "10de:16c1", Class "030200".
	Address, ID, Sub, Class string
	// Driver bound, IOMMUGroup, both may be "".
	Driver, IOMMUGroup string
	// NUMA as sysfs writes it; "" is "-1".
	NUMA string
	// Root "pci0000:3a"; "" is made from the address. Bridges lie between.
	Root    string
	Bridges []string
	// More files of the function.
	More map[string]string
}

// Plug puts cards in. It returns the directory of the last in sys/devices.
func (m *Machine) Plug(cards ...Card) string {
	dir := ""
	for _, c := range cards {
		root := c.Root
		if root == "" {
			root = "pci" + c.Address[:strings.LastIndex(c.Address, ":")]
		}
		dir = path.Join("sys/devices", root, path.Join(c.Bridges...), c.Address)
		link := "../../../devices/" + strings.TrimPrefix(dir, "sys/devices/")
		m.Symlink("sys/bus/pci/devices/"+c.Address, link)
		vendor, dev, _ := strings.Cut(c.ID, ":")
		m.Write(dir+"/vendor", "0x"+vendor).Write(dir+"/device", "0x"+dev).Write(dir+"/class", "0x"+c.Class)
		if v, d, ok := strings.Cut(c.Sub, ":"); ok {
			m.Write(dir+"/subsystem_vendor", "0x"+v).Write(dir+"/subsystem_device", "0x"+d)
		}
		numa := c.NUMA
		if numa == "" {
			numa = "-1"
		}
		m.Write(dir+"/numa_node", numa)
		if c.Driver != "" {
			m.Symlink(dir+"/driver", strings.Repeat("../", strings.Count(dir, "/"))+"bus/pci/drivers/"+c.Driver)
		}
		if c.IOMMUGroup != "" {
			m.Symlink(dir+"/iommu_group", strings.Repeat("../", strings.Count(dir, "/"))+"kernel/iommu_groups/"+c.IOMMUGroup)
		}
		for _, k := range slices.Sorted(maps.Keys(c.More)) {
			m.Write(dir+"/"+k, c.More[k])
		}
	}
	return dir
}

// Host is the machine as adapters see it. It is a copy: not live, but with its
// programs.
func (m *Machine) Host() (*device.Host, error) {
	h := &device.Host{FS: m.Files, Run: m.run}
	var err error
	h.Functions, err = pci.Walk(m.Files)
	return h, err
}

// Discover has an adapter look at the machine.
func (m *Machine) Discover(t testing.TB, a device.Adapter) ([]device.Device, error) {
	t.Helper()
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	return a.Discover(t.Context(), h)
}

func (m *Machine) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, k := range []string{strings.Join(append([]string{path.Base(program)}, args...), " "), path.Base(program)} {
		if out, ok := m.Tools[k]; ok {
			return []byte(out), nil
		}
	}
	return nil, fmt.Errorf("%s: %w", program, device.ErrNoTool)
}

// clone copies the machine.
func (m *Machine) clone() *Machine {
	c := New()
	for k, v := range m.Files {
		f := *v
		f.Data = slices.Clone(v.Data)
		c.Files[k] = &f
	}
	c.Tools = maps.Clone(m.Tools)
	return c
}
