package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// ErrNoTool means that a vendor's program is not installed, or cannot be run here
// because the host is a copy of a machine.
var ErrNoTool = errors.New("the program is not installed")

// Host is a machine as adapters see it: its files, its PCI functions, and its
// vendors' programs. A copy of a machine has files only.
type Host struct {
	// FS holds sys, proc, dev and so on, as below the root directory. It implements
	// fs.ReadLinkFS if it has symbolic links.
	FS fs.FS
	// Functions on the PCI bus, by address.
	Functions []Function
	// Run runs a vendor's program and returns its standard output. It ends it at a
	// time limit, and limits what it may say. It returns an error that wraps
	// ErrNoTool if there is no such program. Nil: there are none.
	Run func(ctx context.Context, program string, args ...string) ([]byte, error)
	// Live is set for the machine this program runs on: only there do device files
	// and drivers mean something.
	Live bool
}

// fileBytesMax is the most that is read of a file of the machine. None that we
// know has more.
const fileBytesMax = 4 << 20

// ErrTooLong means that a file or a program's output is longer than anything we
// know of that name.
var ErrTooLong = errors.New("longer than 4 MiB")

// ReadFile reads a file of the machine by its path without a leading slash, at most
// 4 MiB.
func (h *Host) ReadFile(name string) ([]byte, error) {
	f, err := h.FS.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, 0, 512)
	for {
		if len(buf) == cap(buf) {
			if len(buf) >= fileBytesMax {
				return nil, fmt.Errorf("%s: %w", name, ErrTooLong)
			}
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := f.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil {
			if errors.Is(err, io.EOF) {
				return buf, nil
			}
			return nil, err
		}
	}
}

// String reads a file of one value; "" if it is not there or not readable.
func (h *Host) String(name ...string) string {
	b, err := h.ReadFile(path.Join(name...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(b), ""))
}

// Int reads a file of one number, decimal or with 0x; ok is false if it holds none.
func (h *Host) Int(name ...string) (n int64, ok bool) {
	n, err := strconv.ParseInt(h.String(name...), 0, 64)
	return n, err == nil
}

// Dir lists the names in a directory, sorted; none if it is not there.
func (h *Host) Dir(name ...string) []string {
	entries, err := fs.ReadDir(h.FS, path.Join(name...))
	if err != nil {
		return nil
	}
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.Name()
	}
	return out
}

// Link returns the last element of what a symbolic link points to: the driver of a
// device, the group it is in. "" if it is no link.
func (h *Host) Link(name ...string) string {
	to, err := fs.ReadLink(h.FS, path.Join(name...))
	if err != nil {
		return ""
	}
	return path.Base(to)
}

// Exists reports whether there is such a file.
func (h *Host) Exists(name ...string) bool {
	_, err := fs.Stat(h.FS, path.Join(name...))
	return err == nil
}

// Owned are the PCI functions that match.
func (h *Host) Owned(match func(*Function) bool) []*Function {
	var out []*Function
	for i := range h.Functions {
		if match(&h.Functions[i]) {
			out = append(out, &h.Functions[i])
		}
	}
	return out
}

// At returns the function at a PCI address in any of the forms that [Address]
// reads.
func (h *Host) At(address string) (*Function, bool) {
	a, ok := Address(address)
	if !ok {
		return nil, false
	}
	for i := range h.Functions {
		if h.Functions[i].Address == a {
			return &h.Functions[i], true
		}
	}
	return nil, false
}

// Node describes the device file at an absolute path. On a live machine it must be
// a device, and its numbers are read; on a copy it is taken on trust and has none.
func (h *Host) Node(file string, shared bool) (Node, error) {
	n := Node{Path: file, Type: "c", Shared: shared}
	if !h.Live {
		return n, nil
	}
	info, err := fs.Stat(h.FS, strings.TrimPrefix(file, "/"))
	if err != nil {
		return n, err
	}
	if info.Mode()&os.ModeDevice == 0 {
		return n, fmt.Errorf("%s is no device", file)
	}
	if info.Mode()&os.ModeCharDevice == 0 {
		n.Type = "b"
	}
	n.Major, n.Minor = numbers(info)
	return n, nil
}
