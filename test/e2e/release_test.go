//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// bare is the PATH of a machine on which nobody develops.
const bare = "/usr/sbin:/usr/bin:/sbin:/bin"

// TestReleaseTarball makes a release for this machine's architecture, checks what
// it says of itself, and starts a cloud from it as on a machine without Go.
func TestReleaseTarball(t *testing.T) {
	tarball := release(t)
	dist := filepath.Dir(tarball)
	t.Run("checksums", func(t *testing.T) { checkSums(t, dist, filepath.Base(tarball)) })
	t.Run("bill of materials", func(t *testing.T) { checkReleaseBill(t, dist) })
	t.Run("cloud", func(t *testing.T) { cloudFrom(t, tarball) })
}

// release returns the path of a release's tarball, which it makes unless one is
// named in POLDER_E2E_TARBALL.
func release(t *testing.T) string {
	if path := os.Getenv("POLDER_E2E_TARBALL"); path != "" {
		return path
	}
	const root = "../.."
	cmd := exec.Command("make", "-C", root, "release")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS")
	}), "POLDER_RELEASE_ARCH="+runtime.GOARCH)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make release: %v\n%s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(root, "dist", "polder-*-linux-"+runtime.GOARCH+".tar.gz"))
	if err != nil || len(found) == 0 {
		t.Fatalf("make release left no tarball for %s in dist/: %v", runtime.GOARCH, err)
	}
	return slices.MaxFunc(found, func(a, b string) int { return modified(a).Compare(modified(b)) })
}

func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// checkSums checks every line of SHA256SUMS, and that the tarball has one.
func checkSums(t *testing.T, dist, tarball string) {
	b, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 2 {
			t.Fatalf("line %q of SHA256SUMS is not a sum and a name", line)
		}
		name := strings.TrimPrefix(f[1], "*")
		named[name] = true
		if have, err := fileSum(filepath.Join(dist, name)); err != nil || have != f[0] {
			t.Errorf("%s has the sum %s, SHA256SUMS says %s, %v", name, have, f[0], err)
		}
	}
	if !named[tarball] {
		t.Errorf("SHA256SUMS does not name %s: %v", tarball, named)
	}
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// checkReleaseBill looks for the bill of materials beside the tarball.
func checkReleaseBill(t *testing.T, dist string) {
	files, err := filepath.Glob(filepath.Join(dist, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no bill of materials (*.json) in dist/: %v", err)
	}
	var errs []error
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var b bom
		if err := json.Unmarshal(raw, &b); err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		err = b.names("k8s.io/kubernetes", "go.etcd.io/etcd/server/v3", "github.com/containerd/containerd/v2", "gvisor.dev/gvisor",
			"github.com/opencontainers/runc", "github.com/containernetworking/plugins", "github.com/coredns/coredns", "github.com/distribution/distribution/v3")
		if err == nil {
			return
		}
		errs = append(errs, fmt.Errorf("%s: %w", filepath.Base(f), err))
	}
	t.Error(errors.Join(errs...))
}

// cloudFrom unpacks a release and runs a cloud and a sandboxed pod with nothing else.
func cloudFrom(t *testing.T, tarball string) {
	dir, err := os.MkdirTemp(dataRoot, "polder-release-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if out, err := exec.Command("tar", "-xzf", tarball, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("unpacking: %v: %s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "polder-*", "bin", "polder"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the release holds %q, %v; want one polder-VERSION/bin/polder", found, err)
	}
	c := own(t, "release")
	c.bin, c.env = found[0], []string{"PATH=" + bare, "HOME=/root"}
	version := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(filepath.Dir(filepath.Dir(c.bin))), "polder-"), "-linux-"+runtime.GOARCH)
	out, errs, code := c.runCmd(exec.Command(c.bin, "--version"))
	if code != 0 || !strings.Contains(out, version) {
		t.Errorf("polder --version: exit code %d, want %s: %s%s", code, version, out, errs)
	}
	c.up(t)
	for _, p := range c.processes() {
		if strings.HasPrefix(p.exe, filepath.Dir(program)+"/") {
			t.Errorf("process %d is not from the release: %s", p.pid, p.exe)
		}
	}
	c.probe(t)
	pod := probePod(c.namespace(t, "tenant", nil), "look", "look")
	var in look
	if err := json.Unmarshal([]byte(c.output(t, pod)), &in); err != nil {
		t.Fatal(err)
	}
	if classOf(pod) != "gvisor" || in.Version == "" || in.Version == content("/proc/version") {
		t.Errorf("a pod of class %q sees kernel %q", classOf(pod), in.Version)
	}
	c.must(t, "reset", "--yes")
	after, err := snapshot(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left(c, c.before, after) {
		t.Error(l)
	}
}
