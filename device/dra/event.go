package dra

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"polder.dev/polder/internal/logs"
)

// subsystems are those whose devices accelerators are made of; modules come and go
// with drivers.
var subsystems = []string{"pci", "drm", "accel", "misc", "vfio", "infiniband", "infiniband_verbs", "module", "neuron_device", "tenstorrent", "devlink"}

// eventBytesMax is the most that the kernel sends in one event.
const eventBytesMax = 64 << 10

// listen returns a channel that has something when the kernel tells of a change of
// devices, until ctx ends. Events that come while one waits to be heard are one.
func listen(ctx context.Context, log *slog.Logger) (<-chan struct{}, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("opening a socket for the kernel's events: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("listening to the kernel's events: %w", err)
	}
	f := os.NewFile(uintptr(fd), "uevent") // the poller can end a read of it
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	out := make(chan struct{}, 1)
	go func() {
		defer stop()
		defer f.Close()
		buf := make([]byte, eventBytesMax)
		for {
			n, err := f.Read(buf)
			if errors.Is(err, unix.ENOBUFS) { // some were lost; what they told is to be seen
				n, err = 0, nil
			}
			if err != nil {
				if ctx.Err() == nil {
					log.WarnContext(ctx, "the kernel's events cannot be heard any more", logs.Err, err)
				}
				return
			}
			if n > 0 && !concerns(buf[:n]) {
				continue
			}
			select {
			case out <- struct{}{}:
			default:
			}
		}
	}()
	return out, nil
}

// concerns reports whether an event, "ACTION@PATH" and then "KEY=VALUE" parted by
// zero bytes, is of a subsystem that accelerators are made of.
func concerns(event []byte) bool {
	for _, field := range bytes.Split(event, []byte{0}) {
		if s, ok := bytes.CutPrefix(field, []byte("SUBSYSTEM=")); ok {
			return slices.Contains(subsystems, string(s))
		}
	}
	return false
}
