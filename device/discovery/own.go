package discovery

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"polder.dev/polder/device"
)

// ownPrefix begins the names of our own helper binaries. They lie beside this program
// and not where vendors put theirs, so that nobody's program of that name is run.
const ownPrefix = "polder-"

// runOwn runs a helper binary of ours, as run does others' programs. In a container the
// machine's root, where programs run, has none of ours.
func runOwn(ctx context.Context, root, program string, args ...string) ([]byte, error) {
	if root != "/" {
		return nil, fmt.Errorf("%s: %w", program, device.ErrNoTool)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("looking for %s: %w", program, err)
	}
	file, err := findOwn(self, program)
	if err != nil {
		return nil, err
	}
	return run(ctx, root, file, args...)
}

// findOwn finds a helper binary that belongs to this program: below the directory of
// self in a build, one up in an installation, as package system finds the others.
func findOwn(self, program string) (string, error) {
	dir := filepath.Dir(self)
	for _, d := range []string{filepath.Join(dir, "libexec", "polder"), filepath.Join(filepath.Dir(dir), "libexec", "polder")} {
		file, err := filepath.EvalSymlinks(filepath.Join(d, program))
		if err != nil {
			continue // which costs no more than the program
		}
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			continue
		}
		if err := trusted(file); err != nil {
			return "", fmt.Errorf("%s is not run: %w", file, err)
		}
		return file, nil
	}
	return "", fmt.Errorf("%s: %w", program, device.ErrNoTool)
}

// trusted says how somebody else could have put another program in place of file, an
// absolute path without symbolic links. Root and who runs this program may.
func trusted(file string) error {
	if !filepath.IsAbs(file) {
		return fmt.Errorf("%s is no absolute path", file)
	}
	for p := file; ; p = filepath.Dir(p) {
		info, err := os.Lstat(p)
		if err != nil {
			return err
		}
		owner := info.Sys().(*syscall.Stat_t).Uid
		sticky := info.IsDir() && info.Mode()&fs.ModeSticky != 0 // as /tmp
		switch {
		case owner != 0 && int(owner) != os.Geteuid():
			return fmt.Errorf("%s belongs to the user %d", p, owner)
		case info.Mode()&0o002 != 0 && !sticky:
			return fmt.Errorf("everybody may write to %s", p)
		}
		if p == "/" {
			return nil
		}
	}
}
