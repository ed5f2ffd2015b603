package device

import (
	"context"
	"errors"
)

// Adapter finds the devices of one vendor. Its room is device/NAME, and its line is
// in package discovery's list. Package devicetest proves what is promised here.
type Adapter interface {
	// Name is that of its room.
	Name() string

	// Owns reports whether a PCI function is an accelerator of this vendor, by its
	// own fields alone. At most one adapter owns a function: vendors sell network
	// cards, bridges and graphics for consoles under the same vendor number, so the
	// vendor alone is not enough.
	Owns(f *Function) bool

	// Discover returns the devices of this vendor on h. It returns what it found
	// even when it also returns an error; the error is a [Problem], or several
	// joined, that say what is missing and what that costs. It returns within ctx,
	// and changes nothing on the machine. A function that [Owns] accepts but of
	// which no more is known still is a device, if only with its address and the
	// product of its number.
	Discover(ctx context.Context, h *Host) ([]Device, error)

	// Edits says what a container needs in order to use devices, which are this
	// adapter's.
	Edits(devices []Device) Edits
}

// Reader is an adapter that also understands what its vendor's program printed on
// another machine.
type Reader interface {
	// Read returns the devices that a saved output of a vendor's program tells of.
	// It returns an error that wraps [ErrFormat] if it is not such an output, and
	// never panics, whatever the bytes.
	Read(output []byte) ([]Device, error)
}

// Meter is an adapter that can read the meters and the health of devices again
// without finding them anew.
type Meter interface {
	// Measure sets Reading and Health of devices, which Discover returned.
	Measure(ctx context.Context, h *Host, devices []Device) error
}

// ErrFormat means that bytes are not what this reader reads.
var ErrFormat = errors.New("not in the format")

// Edits is what a container is given with its devices.
type Edits struct {
	// Nodes are the device files.
	Nodes []Node
	// Mounts are files and directories of the host, read-only. Those that the host
	// lacks are left out.
	Mounts []Mount
	// Env are variables, such as the list of visible devices.
	Env map[string]string
}

// Mount is a file or directory of the host at the same or another path in the
// container.
type Mount struct{ Host, Container string }

// Nodes are the device files of devices, each once, in their order.
func Nodes(devices []Device) []Node {
	var out []Node
	seen := map[string]bool{}
	for _, d := range devices {
		for _, n := range d.Nodes {
			if !seen[n.Path] {
				seen[n.Path] = true
				out = append(out, n)
			}
		}
	}
	return out
}
