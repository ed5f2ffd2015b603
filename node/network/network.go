// Package network makes the cloud's place in the machine's network: a network
// namespace of its own, one cable (a veth pair) into it, and one nftables table
// on the host. Everything a cloud listens on is inside, so the machine's own
// network gains no listener; the table lets connections out, if the cloud may
// reach out, and none in. Only system imports this package.
//
//	machine                        │ namespace polder-ID
//	  eth0 ◄─ masquerade ─ HostIP ─┼─ eth0 NodeIP ─ forward ─ veth… pod
//	                      (DNS)    │  (API server, registry, kubelet)
//
// Routes on the host lead to pods and services, so that a person on the machine
// can reach them as far as the pods' policies allow. Remove leaves nothing behind.
package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"polder.dev/polder/system/layout"
)

const (
	nodeLink     = "eth0" // the namespace's end
	forwardPath  = "/proc/sys/net/ipv4/ip_forward"
	forwardState = "ip_forward" // file in the run directory: what it was before
)

// Ensure makes the namespace, the cable and the table, or repairs what is there.
func Ensure(ctx context.Context, c layout.Cloud) error {
	ns, err := openNamespace(c)
	if err != nil {
		return err
	}
	defer ns.Close()
	inside, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("reaching namespace %s: %w", c.Netns(), err)
	}
	defer inside.Close()
	host, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("reaching the machine's network: %w", err)
	}
	defer host.Close()
	if err := cable(c, host, inside, ns); err != nil {
		return err
	}
	err = within(ns, func() error { return os.WriteFile(forwardPath, []byte("1"), 0o644) })
	if err != nil {
		return fmt.Errorf("forwarding between pods: %w", err)
	}
	if err := forwardOnHost(c); err != nil {
		return err
	}
	return applyTable(ctx, c)
}

// Within runs f on a thread inside the cloud's namespace, which must exist.
func Within(c layout.Cloud, f func() error) error {
	ns, err := netns.GetFromPath(c.NetnsPath())
	if err != nil {
		return fmt.Errorf("opening network namespace %s: %w", c.Netns(), err)
	}
	defer ns.Close()
	return within(ns, f)
}

// Remove undoes Ensure. It is safe when there is nothing to undo.
func Remove(ctx context.Context, c layout.Cloud) error {
	var errs []error
	if l, err := netlink.LinkByName(c.HostLink()); err == nil {
		errs = append(errs, netlink.LinkDel(l))
	}
	errs = append(errs, removeTable(ctx, c), restoreForward(c))
	if _, err := os.Stat(c.NetnsPath()); err == nil {
		if err := syscall.Unmount(c.NetnsPath(), syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", c.NetnsPath(), err))
		}
		errs = append(errs, os.Remove(c.NetnsPath()))
	}
	return errors.Join(errs...)
}

// openNamespace returns the cloud's namespace, making it if need be.
func openNamespace(c layout.Cloud) (netns.NsHandle, error) {
	if ns, err := netns.GetFromPath(c.NetnsPath()); err == nil {
		if isNamespace(c.NetnsPath()) {
			return ns, nil
		}
		ns.Close() // a file left by a boot before
	}
	os.Remove(c.NetnsPath())
	type result struct {
		ns  netns.NsHandle
		err error
	}
	made := make(chan result)
	go func() {
		// NewNamed moves this thread into the new namespace: never unlocked, the
		// thread ends with the goroutine.
		runtime.LockOSThread()
		ns, err := netns.NewNamed(c.Netns())
		made <- result{ns, err}
	}()
	r := <-made
	if r.err != nil {
		return 0, fmt.Errorf("making network namespace %s: %w", c.Netns(), r.err)
	}
	return r.ns, nil
}

func isNamespace(path string) bool {
	const nsfsMagic = 0x6e736673 // include/uapi/linux/magic.h
	var s syscall.Statfs_t
	return syscall.Statfs(path, &s) == nil && s.Type == nsfsMagic
}

// within runs f on a thread inside ns.
func within(ns netns.NsHandle, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not given back
		if err := netns.Set(ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func cable(c layout.Cloud, host, inside *netlink.Handle, ns netns.NsHandle) error {
	outer, err := host.LinkByName(c.HostLink())
	if err != nil {
		veth := &netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: c.HostLink(), MTU: mtu(host)},
			PeerName:      nodeLink,
			PeerNamespace: netlink.NsFd(ns),
			PeerMTU:       uint32(mtu(host)),
		}
		if err := host.LinkAdd(veth); err != nil {
			return fmt.Errorf("making link %s: %w", c.HostLink(), err)
		}
		if outer, err = host.LinkByName(c.HostLink()); err != nil {
			return fmt.Errorf("finding link %s: %w", c.HostLink(), err)
		}
	}
	inner, err := inside.LinkByName(nodeLink)
	if err != nil {
		return fmt.Errorf("finding %s in namespace %s: %w; `polder reset` clears a network half made", nodeLink, c.Netns(), err)
	}
	lo, err := inside.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding loopback in namespace %s: %w", c.Netns(), err)
	}
	hostIP, nodeIP := layout.IP(c.HostIP()), layout.IP(c.NodeIP())
	return errors.Join(
		address(host, outer, hostIP), address(inside, inner, nodeIP),
		up(host, outer), up(inside, inner), up(inside, lo),
		route(inside, &netlink.Route{LinkIndex: inner.Attrs().Index, Gw: hostIP}),
		route(host, &netlink.Route{LinkIndex: outer.Attrs().Index, Gw: nodeIP, Dst: &net.IPNet{
			IP: layout.IP(c.CIDR.Addr()), Mask: net.CIDRMask(c.CIDR.Bits(), 32),
		}}),
	)
}

// mtu is that of the link the machine reaches the world by.
func mtu(host *netlink.Handle) int {
	const ethernet = 1500
	routes, err := host.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return ethernet
	}
	for _, r := range routes {
		if r.Gw == nil || (r.Dst != nil && !r.Dst.IP.IsUnspecified()) {
			continue
		}
		if l, err := host.LinkByIndex(r.LinkIndex); err == nil {
			return l.Attrs().MTU
		}
	}
	return ethernet
}

func address(h *netlink.Handle, l netlink.Link, ip net.IP) error {
	a := &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(30, 32)}}
	if err := h.AddrReplace(l, a); err != nil {
		return fmt.Errorf("giving %s the address %s: %w", l.Attrs().Name, ip, err)
	}
	return nil
}

func up(h *netlink.Handle, l netlink.Link) error {
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("setting %s up: %w", l.Attrs().Name, err)
	}
	return nil
}

func route(h *netlink.Handle, r *netlink.Route) error {
	if err := h.RouteReplace(r); err != nil {
		return fmt.Errorf("adding route to %v by %v: %w", r.Dst, r.Gw, err)
	}
	return nil
}

// forwardOnHost lets the machine forward, which going out needs, and remembers
// what it did before.
func forwardOnHost(c layout.Cloud) error {
	if !*c.Config.Network.Egress {
		return nil
	}
	was, err := os.ReadFile(forwardPath)
	if err != nil {
		return fmt.Errorf("reading %s: %w", forwardPath, err)
	}
	if strings.TrimSpace(string(was)) == "1" {
		return nil
	}
	if err := os.WriteFile(c.Run(forwardState), was, 0o600); err != nil {
		return fmt.Errorf("remembering %s: %w", forwardPath, err)
	}
	if err := os.WriteFile(forwardPath, []byte("1"), 0o644); err != nil {
		return fmt.Errorf("forwarding on the machine: %w; set network.egress: false to do without", err)
	}
	return nil
}

// restoreForward sets back what forwardOnHost changed, unless another cloud
// still forwards.
func restoreForward(c layout.Cloud) error {
	was, err := os.ReadFile(c.Run(forwardState))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading what forwarding was: %w", err)
	}
	others, _ := filepath.Glob("/run/netns/polder-*")
	for _, o := range others {
		if o != c.NetnsPath() {
			return handOver(c, o, was)
		}
	}
	return os.WriteFile(forwardPath, was, 0o644)
}

// handOver leaves the memory of what forwarding was to the other cloud.
func handOver(c layout.Cloud, other string, was []byte) error {
	return os.WriteFile(filepath.Join("/run", filepath.Base(other), forwardState), was, 0o600)
}
