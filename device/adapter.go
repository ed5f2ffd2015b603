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

// Listener is an adapter that understands what its vendor's driver writes into the
// kernel's log. Drivers tell of a fault there in the moment it happens, and of some
// nowhere else.
type Listener interface {
	// Hear says what one message means, as the kernel wrote it, without its time; ok
	// is false if it means nothing. It is pure: the log is read again from its
	// beginning whenever a program starts, so the same messages have to mean the same.
	//
	// Only what a driver wrote may be judged, so a form is looked for at the beginning
	// of a message and never further in, where names of processes and files stand,
	// which users choose.
	//
	// A fault of the job, such as an access beyond its memory, is none of the device:
	// it would take a card from the next job that the next job can well use.
	Hear(message string) (h Heard, ok bool)
}

// Heard is what a message of the kernel's log says. One with neither Over nor a Fault
// says that something changed that can be seen by looking.
type Heard struct {
	// Address of the PCI function that the message is about, as [Address] gives it. All
	// devices at it are meant. Empty: all devices of which the same listener heard.
	Address string
	// Over means that faults that were heard before are over: the device was reset, or
	// its driver has begun anew.
	Over bool
	// Fault that there is from now on, until one that is Over; none if it has no Code.
	Fault Fault
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
