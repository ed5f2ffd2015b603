package recipe

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Options of Build.
type Options struct {
	// Mirrors are what mmdebstrap takes as such: a URL, or a file of apt's
	// sources. Empty: the machine's own sources if they are of the recipe's
	// suite, else Debian's.
	Mirrors []string
	// Progress is told what is being done, in a few words.
	Progress func(string)
}

// Built is a root file system.
type Built struct {
	// Tar is the file, in the directory given to Build.
	Tar      string
	Packages []Package
}

// epoch is the time of files that have none of their own, and the latest that any
// has: the release of Debian 12.
const epoch = 1686355200

// Build makes the recipe's root file system in dir. It needs root, as the
// packages' own scripts do.
func (r *Recipe) Build(ctx context.Context, dir string, o Options) (*Built, error) {
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		return nil, errors.New("mmdebstrap is not installed; apt-get install --yes mmdebstrap debian-archive-keyring")
	}
	if len(r.brought) != len(r.Programs) {
		panic("recipe: Bring was not called before Build")
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("building a runtime needs root, as the packages' own scripts do; run it with sudo")
	}
	mirrors := o.Mirrors
	if len(mirrors) == 0 {
		mirrors = defaultMirrors(r.Suite)
	}
	pins := filepath.Join(dir, "pins")
	if err := os.WriteFile(pins, r.pins(), 0o644); err != nil {
		return nil, fmt.Errorf("writing versions: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // apt drops root to read pins
		return nil, fmt.Errorf("opening %s to apt: %w", dir, err)
	}
	out := filepath.Join(dir, "root.tar")
	settings := filepath.Join(dir, "dpkg.cfg")
	if err := os.WriteFile(settings, r.dpkg(), 0o644); err != nil {
		return nil, fmt.Errorf("writing dpkg's settings: %w", err)
	}
	args := []string{
		"--mode=root", "--format=tar", "--skip=check/empty",
		"--include=" + strings.Join(r.Packages, ","),
		`--aptopt=APT::Install-Recommends "false"`, fmt.Sprintf("--aptopt=Dir::Etc::preferences %q", pins),
		"--architectures=" + runtime.GOARCH,
	}
	last := "--customize-hook="
	if r.Bare {
		last = "--extract-hook=" // mmdebstrap has no later one for such
		args = append(args, "--variant=extract", last+record, last+mounts)
	} else {
		const there = `"$1"/etc/dpkg/dpkg.cfg.d/polder`
		args = append(args, "--variant=essential",
			// As an option of mmdebstrap's own, they would run every archive through a
			// filter that takes longer than all the rest.
			fmt.Sprintf("--extract-hook=install -m 0644 '%s' %s", settings, there),
			last+"rm "+there)
	}
	// What differs from build to build; apt's settings name this one's directory.
	args = append(args, last+`rm -rf "$1"/var/cache/ldconfig/aux-cache "$1"/var/log/* "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/etc/apt/apt.conf.d/99mmdebstrap`)
	// What the essential packages brought is excluded here: they come before dpkg.
	for _, p := range slices.Concat(r.Exclude, r.Remove) { // parse has seen that the shell can make nothing else of it
		args = append(args, last+`rm -rf "$1"`+p)
	}
	for _, p := range r.brought {
		args = append(args, fmt.Sprintf(`%sinstall -D -m 0755 "$%s"/%s "$1"%s/%s`, last, libexecVariable, p.Name, ProgramDir, p.Name))
	}
	args = append(args, r.Suite, out)
	if err := mmdebstrap(ctx, append(args, mirrors...), r.libexec, o.Progress); err != nil {
		return nil, err
	}
	status, err := readOne(out, "var/lib/dpkg/status")
	if err != nil {
		return nil, fmt.Errorf("reading what was installed: %w", err)
	}
	return &Built{Tar: out, Packages: parseStatus(status)}, nil
}

// record writes into a bare image which packages are in it, as dpkg would have, from the
// archives that were unpacked.
const record = `for deb in "$1"/var/cache/apt/archives/*.deb; do dpkg-deb --field "$deb"; printf 'Status: install ok installed\n\n'; done > "$1"/var/lib/dpkg/status`

// mounts are the directories that containers have, and no package brings.
const mounts = `mkdir -p "$1"/dev "$1"/etc "$1"/proc "$1"/sys "$1"/tmp; chmod 1777 "$1"/tmp`

// libexecVariable tells the hooks where the programs are; a path in them would be read by
// the shell.
const libexecVariable = "POLDER_LIBEXEC"

// dpkg is how packages are unpacked: dpkg.cfg(5).
func (r *Recipe) dpkg() []byte {
	var b strings.Builder
	// Nobody needs what a power failure leaves of a root that is not packed yet.
	b.WriteString("force-unsafe-io\n")
	for _, e := range r.Exclude {
		fmt.Fprintf(&b, "path-exclude=%s\n", e)
	}
	return []byte(b.String())
}

// pins makes apt prefer the versions of the lock: apt_preferences(5). One that no
// mirror has any more is passed over; Drift tells.
func (r *Recipe) pins() []byte {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r.Lock)) {
		fmt.Fprintf(&b, "Package: %s\nPin: version %s\nPin-Priority: 1001\n\n", name, r.Lock[name])
	}
	return []byte(b.String())
}

// defaultMirrors prefers what the machine's administrator chose.
func defaultMirrors(suite string) []string {
	const own = "/etc/apt/sources.list.d/debian.sources"
	if b, err := os.ReadFile(own); err == nil && strings.Contains(string(b), "Suites: "+suite) {
		return []string{own}
	}
	const list = "/etc/apt/sources.list"
	if b, err := os.ReadFile(list); err == nil && strings.Contains(string(b), " "+suite+" ") {
		return []string{list}
	}
	const signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
	return []string{
		fmt.Sprintf("deb %s http://deb.debian.org/debian %s main", signed, suite),
		fmt.Sprintf("deb %s http://deb.debian.org/debian %s-updates main", signed, suite),
		fmt.Sprintf("deb %s http://deb.debian.org/debian-security %s-security main", signed, suite),
	}
}

// lastLines of its output are shown when mmdebstrap fails.
const lastLines = 12

func mmdebstrap(ctx context.Context, args []string, libexec string, progress func(string)) error {
	cmd := exec.CommandContext(ctx, "mmdebstrap", args...)
	// Python compiles modules as packages are configured, sets in the order of hashes.
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch), "LC_ALL=C.UTF-8", "PYTHONHASHSEED=0", libexecVariable+"="+libexec)
	// Told to stop, it removes what it made.
	cmd.SysProcAttr = alone()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	var last []string
	read := make(chan struct{})
	go func() { // ends when the pipe is closed below
		defer close(read)
		s := bufio.NewScanner(r)
		for s.Scan() {
			if text, ok := strings.CutPrefix(s.Text(), "I: "); ok && progress != nil && !strings.HasPrefix(text, "running --") { // not our own hooks
				progress(strings.TrimSuffix(text, "..."))
			}
			if last = append(last, s.Text()); len(last) > lastLines {
				last = last[1:]
			}
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	err := cmd.Run()
	w.Close()
	<-read
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("mmdebstrap: %w; its last lines:\n%s", err, strings.Join(last, "\n"))
	}
	return nil
}

// readOne returns one file of a tar.
func readOne(path, name string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t := tar.NewReader(f)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s is not in %s", name, path)
		}
		if err != nil {
			return nil, err
		}
		if filepath.Clean(h.Name) == name {
			return io.ReadAll(t)
		}
	}
}
