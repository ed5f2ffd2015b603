// Command containerd-shim-runsc-v1 is gVisor's containerd shim for machines that
// may not lower an OOM score. It is upstream's service with three differences: where
// the kernel forbids setting the shim's score (no CAP_SYS_RESOURCE, as in
// containers and some virtual machines), the shim starts all the same; what a dead
// daemon leaves is ended; and a container's start costs fewer processes. Only
// containerd runs it. When asked to start, it prints the address and nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/namespaces"
	"github.com/containerd/containerd/runtime/v2/shim"
	taskapi "github.com/containerd/containerd/runtime/v2/task"
	"github.com/containerd/containerd/sys"

	runsc "gvisor.dev/gvisor/pkg/shim/v1"
)

const (
	runtimeID   = "io.containerd.runsc.v1"
	addressFile = "address" // in the bundle, which is the working directory
	pidFile     = "shim.pid"
	oomScore    = -999 // upstream's: last to go, but killable
)

func main() {
	// What the runtime declares about itself: nothing. Upstream knows no such
	// question, and containerd would ask again at every container's start.
	if slices.Contains(os.Args[1:], "-info") {
		return
	}
	shim.Run(runtimeID, newService)
}

func newService(ctx context.Context, id string, pub shim.Publisher, cancel func()) (shim.Shim, error) {
	s, err := runsc.New(ctx, id, pub, cancel)
	if err != nil {
		return nil, err
	}
	return &service{Shim: s, id: id}, nil
}

// service is gVisor's, but for how its daemon is started, what is done when it has
// died, and the first answer about a container that has just started.
type service struct {
	shim.Shim
	id string

	mu      sync.Mutex            // guards what follows
	state   taskapi.StateResponse // of the container, but for its status
	started time.Time             // zero: not yet, or its state was asked for since
}

// StartShim starts the daemon for the container opts.ID on a socket, unless one
// listens there already, and returns the socket's address.
func (s *service) StartShim(ctx context.Context, opts shim.StartOpts) (string, error) {
	address, err := shim.SocketAddress(ctx, opts.Address, opts.ID)
	if err != nil {
		return "", fmt.Errorf("naming socket: %w", err)
	}
	socket, err := listen(address)
	if err != nil {
		return "", err
	}
	if socket == nil {
		return address, shim.WriteAddress(addressFile, address)
	}
	socket.SetUnlinkOnClose(false) // the daemon goes on listening there
	defer socket.Close()
	pid, err := spawn(ctx, opts, socket)
	if err != nil {
		return "", errors.Join(err, shim.RemoveSocket(address))
	}
	err = errors.Join(shim.WritePidFile(pidFile, pid), shim.WriteAddress(addressFile, address), protect(pid))
	if err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		return "", errors.Join(err, shim.RemoveSocket(address))
	}
	return address, nil
}

// listen returns nil when a living daemon has the address; a dead one's socket
// is removed.
func listen(address string) (*net.UnixListener, error) {
	socket, err := shim.NewSocket(address)
	if err == nil {
		return socket, nil
	}
	if !shim.SocketEaddrinuse(err) {
		return nil, fmt.Errorf("making socket: %w", err)
	}
	if shim.CanConnect(address) {
		return nil, nil
	}
	if err := shim.RemoveSocket(address); err != nil {
		return nil, fmt.Errorf("removing dead socket: %w", err)
	}
	if socket, err = shim.NewSocket(address); err != nil {
		return nil, fmt.Errorf("making socket again: %w", err)
	}
	return socket, nil
}

// spawn starts this program as the daemon behind socket.
func spawn(ctx context.Context, opts shim.StartOpts, socket *net.UnixListener) (int, error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("finding this program: %w", err)
	}
	f, err := socket.File()
	if err != nil {
		return 0, fmt.Errorf("passing socket: %w", err)
	}
	defer f.Close()
	cmd := exec.Command(self, "-namespace", ns, "-address", opts.Address, "-publish-binary", opts.ContainerdBinary)
	if opts.Debug {
		cmd.Args = append(cmd.Args, "-debug")
	}
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
	cmd.ExtraFiles = []*os.File{f}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("starting daemon: %w", err)
	}
	pid := cmd.Process.Pid
	return pid, cmd.Process.Release()
}

// protect asks that the daemon be among the last the kernel kills for memory. A
// machine that forbids the request is not an error: the shim works without.
func protect(pid int) error {
	err := sys.SetOOMScore(pid, oomScore)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		return nil
	}
	return err
}
