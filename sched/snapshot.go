package sched

import (
	"fmt"
	"slices"
	"strings"
)

// Whole is a whole device, in thousandths of one.
const Whole = 1000

// Amount is what a node has besides devices.
type Amount struct {
	CPU    int64 // thousandths of a core
	Memory int64 // bytes
	Pods   int64
}

// Device is one accelerator.
type Device struct {
	// Model is what requests name: a product, or a class of products.
	Model string
	// Free is how many of the device's thousandths nobody has.
	Free int
	// Cut is into what it can be cut; nil for a device that is given out whole, or in
	// shares of any size. Left is what is left of each of its counters, and Gone which of
	// its parts are not to be had, whatever is left: somebody has them, or they are ill.
	Cut  *Cut
	Left []int64
	Gone []bool
	// Domain is where it is among the devices, of this node or others, that requests want
	// together, sorted by level: in which fabric, or below which PCIe root.
	Domain []Label
}

// Label is a place in the topology: the level, such as rack, and the name there.
type Label struct{ Level, Name string }

// classCount is into how many classes requests fall by their devices: shares of one,
// and 1, 2, up to 4, and more whole ones. What has no device is in none.
const classCount = 5

// Node is a machine, and what is free of it.
type Node struct {
	Name    string
	Size    Amount
	Free    Amount
	Devices []Device
	// Domain is where it is, sorted by level.
	Domain []Label
	// Classes counts what runs here: shares, and those with 1, 2, up to 4, and more
	// whole devices.
	Classes [classCount]int
}

// Hold is how much is in use by requests that may run on these models only.
type Hold struct {
	Models []string // sorted
	Milli  int64    // thousandths of devices
}

// Snapshot is all that decisions are made from.
type Snapshot struct {
	Nodes []Node
	// Holds, for policies that keep room for who can go nowhere else.
	Holds []Hold
}

// Check says what is wrong with a snapshot, naming node and field.
func (s *Snapshot) Check() error {
	seen := make(map[string]bool, len(s.Nodes))
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.Name == "" || seen[n.Name] {
			return fmt.Errorf("node %d: its name %q is empty or that of another; give each node its own", i, n.Name)
		}
		seen[n.Name] = true
		if err := n.check(); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	return nil
}

func (n *Node) check() error {
	for _, a := range []struct {
		field      string
		free, size int64
	}{{"CPU", n.Free.CPU, n.Size.CPU}, {"memory", n.Free.Memory, n.Size.Memory}, {"pods", n.Free.Pods, n.Size.Pods}} {
		if a.free < 0 || a.free > a.size {
			return fmt.Errorf("%d of %d %s are free; that must be from none to all", a.free, a.size, a.field)
		}
	}
	for i := range n.Devices {
		d := &n.Devices[i]
		if d.Free < 0 || d.Free > Whole {
			return fmt.Errorf("device %d: %d thousandths are free; that must be from 0 to %d", i, d.Free, Whole)
		}
		if d.Model == "" {
			return fmt.Errorf("device %d: it has no model; name one, or call it unknown", i)
		}
		if d.Cut == nil {
			continue
		}
		if err := d.checkCut(); err != nil {
			return fmt.Errorf("device %d: %w", i, err)
		}
	}
	return nil
}

// Idle is how many thousandths of devices are free.
func (n *Node) Idle() int64 {
	sum := 0
	for i := range n.Devices {
		sum += n.Devices[i].Free
	}
	return int64(sum)
}

// clone shares nothing with n that changes.
func (n *Node) clone() Node {
	c := *n
	c.Devices = slices.Clone(n.Devices)
	for i := range c.Devices {
		c.Devices[i].Left, c.Devices[i].Gone = slices.Clone(c.Devices[i].Left), slices.Clone(c.Devices[i].Gone)
	}
	return c
}

func byName(a, b Node) int { return strings.Compare(a.Name, b.Name) }
