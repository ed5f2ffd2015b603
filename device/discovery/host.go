package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"polder.dev/polder/device"
	"polder.dev/polder/device/pci"
)

// Limits of what a vendor's program may take.
const (
	toolTime     = 10 * time.Second
	toolWait     = time.Second
	toolBytesMax = 16 << 20
)

// toolDirs are where vendors put their programs, beside the system's.
var toolDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
	"/opt/rocm/bin", "/opt/hyhal/bin", "/opt/mxdriver/bin", "/usr/local/corex/bin", "/usr/local/neuware/bin", "/usr/local/Ascend/driver/tools", "/opt/aws/neuron/bin"}

// Open returns the machine whose files lie below root. "/" is this machine; any
// other directory is a copy of one, out of which no link leads. The error may come
// with a host that lacks some PCI functions; a Host of nil means that root cannot be
// read at all. Close ends the use of root.
func Open(root string) (h *device.Host, closeRoot func() error, err error) {
	root, err = filepath.Abs(root)
	if err != nil {
		return nil, nil, fmt.Errorf("finding %s: %w", root, err)
	}
	if root == "/" {
		return OpenLive(root)
	}
	files, closeRoot, err := openBeneath(root)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the copy of a machine: %w", err)
	}
	h = &device.Host{FS: files}
	h.Functions, err = pci.Walk(files)
	return h, closeRoot, err
}

// OpenLive returns the machine this program runs on, whose root directory is at
// root: "/", or in a container where the host's is mounted. Vendors' programs run in
// root, so they find the libraries and files that they were installed with. Else it is
// as [Open].
func OpenLive(root string) (h *device.Host, closeRoot func() error, err error) {
	if !filepath.IsAbs(root) {
		return nil, nil, fmt.Errorf("the machine's root %q is no absolute path", root)
	}
	h = &device.Host{Live: true, FS: os.DirFS("/")}
	closeRoot = func() error { return nil }
	if root = filepath.Clean(root); root != "/" {
		h.FS, closeRoot, err = openRoot(root)
		if err != nil {
			return nil, nil, fmt.Errorf("opening the machine's root: %w", err)
		}
	}
	h.Run = func(ctx context.Context, program string, args ...string) ([]byte, error) {
		if strings.HasPrefix(program, ownPrefix) {
			return runOwn(ctx, root, program, args...)
		}
		file, err := find(h.FS, program)
		if err != nil {
			return nil, err
		}
		return run(ctx, root, file, args...)
	}
	h.Functions, err = pci.Walk(h.FS)
	return h, closeRoot, err
}

// run runs the program at file, a path in root, with an empty environment, ends it
// and its children at the time limit, and refuses more than toolBytesMax of output. It
// returns soon after that limit even if the program cannot be ended.
func run(ctx context.Context, root, file string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, toolTime)
	defer cancel()
	var out, said limited
	out.left, said.left = toolBytesMax, 4<<10
	cmd := exec.CommandContext(ctx, file, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	if strings.HasPrefix(file, "/usr/local/corex/") { // finds its libraries in no other way
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH=/usr/local/corex/lib64:/usr/local/corex/lib")
	}
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.WaitDelay = toolWait
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if root != "/" {
		cmd.SysProcAttr.Chroot, cmd.Dir = root, "/"
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	program := filepath.Base(file)
	err := wait(ctx, root+":"+file, cmd.Run)
	switch {
	case errors.Is(err, errStuck): // out and said are still its own
		return nil, fmt.Errorf("%s %w", program, err)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s did not end within %v", program, toolTime)
	case out.over:
		return nil, fmt.Errorf("%s printed more than %d MiB", program, toolBytesMax>>20)
	case err != nil:
		first, _, _ := bytes.Cut(bytes.TrimSpace(said.kept.Bytes()), []byte("\n"))
		return out.kept.Bytes(), fmt.Errorf("%s: %w %s", program, err, first)
	}
	return out.kept.Bytes(), nil
}

// find returns the path of a program in the machine's files.
func find(files fs.FS, program string) (string, error) {
	names := []string{program}
	if !filepath.IsAbs(program) {
		names = nil
		for _, d := range toolDirs {
			names = append(names, filepath.Join(d, program))
		}
	}
	for _, n := range names {
		info, err := fs.Stat(files, strings.TrimPrefix(filepath.Clean(n), "/"))
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return n, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("looking for %s: %w", program, err)
		}
	}
	return "", fmt.Errorf("%s: %w", program, device.ErrNoTool)
}

// limited keeps what is written up to a limit and fails beyond it. It embeds no
// buffer, whose ReadFrom would go round the limit.
type limited struct {
	kept bytes.Buffer
	left int
	over bool
}

func (l *limited) Write(b []byte) (int, error) {
	if len(b) > l.left {
		l.over = true
		return 0, errors.New("too much output")
	}
	l.left -= len(b)
	return l.kept.Write(b)
}
