// Package chardev tells which device files a driver made and which PCI function each
// is of. The rooms of vendors below device import it.
//
// It reads sys/dev/char, where the kernel lists all of them by their numbers as links
// into the tree of devices: "243:0" to "../../devices/pci0000:00/.../xpu0". The file
// of a device is known by that link or by its minor number; the number in its name
// says nothing.
package chardev

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"polder.dev/polder/device"
)

const dir = "sys/dev/char"

// filesMax bounds what is looked at. Large machines have some thousands.
const filesMax = 1 << 16

// File is a character device.
type File struct {
	// Path of it, as the kernel names it.
	Path string
	// Number in its name.
	Number int
	// Major and Minor number.
	Major, Minor int64
	// Address of the PCI function that it hangs below; "" if it hangs below none.
	Address string
}

// Read returns the files whose names in the tree of devices are prefix and a number,
// by that number: "xpu" finds xpu0 and not xpuctrl.
func Read(h *device.Host, prefix string) []File {
	var out []File
	entries := h.Dir(dir)
	for _, e := range entries[:min(len(entries), filesMax)] {
		to, err := fs.ReadLink(h.FS, path.Join(dir, e))
		if err != nil {
			continue
		}
		digits, ok := strings.CutPrefix(path.Base(to), prefix)
		number, err := strconv.Atoi(digits)
		if !ok || err != nil || strconv.Itoa(number) != digits || number < 0 {
			continue
		}
		f := File{Path: name(h, e, path.Base(to)), Number: number, Address: address(to)}
		if f.Major, f.Minor, ok = numbers(e); ok {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b File) int { return a.Number - b.Number })
	return out
}

// name is the path of the file: what the driver asked for, else the name of the
// device, in which "!" stands for "/".
func name(h *device.Host, entry, base string) string {
	n := strings.ReplaceAll(base, "!", "/")
	for line := range strings.Lines(h.String(dir, entry, "uevent")) {
		if asked, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok && fs.ValidPath(asked) {
			n = asked
		}
	}
	return "/dev/" + n
}

// address is the last PCI address in a path of the tree.
func address(to string) string {
	parts := strings.Split(to, "/")
	for _, p := range slices.Backward(parts[:len(parts)-1]) {
		if a, ok := device.Address(p); ok && a == p {
			return a
		}
	}
	return ""
}

func numbers(entry string) (major, minor int64, ok bool) {
	a, b, _ := strings.Cut(entry, ":")
	major, err1 := strconv.ParseInt(a, 10, 32)
	minor, err2 := strconv.ParseInt(b, 10, 32)
	return major, minor, err1 == nil && err2 == nil && major > 0 && minor >= 0
}

// Of returns the file that hangs below the PCI function at an address. ok is false if
// there is none, or more than one.
func Of(files []File, address string) (f File, ok bool) {
	return only(files, func(f File) bool { return f.Address == address && address != "" })
}

// Minor returns the file of a minor number.
func Minor(files []File, minor int64) (f File, ok bool) {
	return only(files, func(f File) bool { return f.Minor == minor })
}

func only(files []File, match func(File) bool) (f File, ok bool) {
	for _, x := range files {
		if match(x) {
			if ok {
				return File{}, false
			}
			f, ok = x, true
		}
	}
	return f, ok
}

// Node describes the file for a container. On a live machine it must be the device
// that the kernel lists.
func (f File) Node(h *device.Host, shared bool) (device.Node, error) {
	n, err := h.Node(f.Path, shared)
	if err != nil {
		return n, err
	}
	if h.Live && (n.Major != f.Major || n.Minor != f.Minor) {
		return n, fmt.Errorf("%s has the numbers %d:%d, and the device has %d:%d", f.Path, n.Major, n.Minor, f.Major, f.Minor)
	}
	n.Major, n.Minor = f.Major, f.Minor
	return n, nil
}
