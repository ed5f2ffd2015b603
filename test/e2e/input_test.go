//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubernetes "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
)

const jobHead = "apiVersion: polder.dev/v1alpha1\nkind: TrainJob\nmetadata: {name: bad}\n"

// jobFiles are files that are no good job, and words that the complaint must hold.
var jobFiles = []struct {
	name, text string
	want       []string
}{
	{"malformed YAML", jobHead + "spec: [", []string{"line 4"}},
	{"unknown field", jobHead + "spec: {runtime: tiny, command: [/probe], workerz: 2}", []string{`"workerz"`}},
	{"field twice", jobHead + "spec: {runtime: tiny, runtime: tiny, command: [/probe]}", []string{`"runtime"`}},
	{"wrong type", jobHead + "spec: {runtime: tiny, command: /probe train}", []string{"spec.command"}},
	{"no amount", jobHead + "spec: {runtime: tiny, command: [/probe], resources: {memory: lots}}", []string{"quantit"}},
	{"wrong kind", "apiVersion: polder.dev/v1alpha1\nkind: Model\nmetadata: {name: bad}\n", []string{"Model", "kind: TrainJob"}},
	{"wrong version", "apiVersion: v1\nkind: TrainJob\nmetadata: {name: bad}\n", []string{"apiVersion: polder.dev/v1alpha1"}},
	{"empty", "", []string{"without kind", "kind: TrainJob"}},
	{"no name", "apiVersion: polder.dev/v1alpha1\nkind: TrainJob\nspec: {runtime: tiny, command: [/probe]}", []string{"metadata.name"}},
	{"no runtime", jobHead + "spec: {command: [/probe]}", []string{"spec.runtime", "polder runtime ls"}},
	{"unknown runtime", jobHead + "spec: {runtime: abacus, command: [/probe]}", []string{"spec.runtime", `"abacus"`, "tiny"}},
	{"no command", jobHead + "spec: {runtime: tiny}", []string{"spec.command"}},
	{"code that is not there", jobHead + "spec: {runtime: tiny, command: [/probe], code: {image: 'code/none:1'}}", []string{"spec.code.image", "code/none:1", "not found"}},
	{"data that is not there", jobHead + "spec: {runtime: tiny, command: [/probe], data: [{name: x, image: data/none}]}", []string{"spec.data[0].image", "data/none", "not found"}},
	{"too few workers", jobHead + "spec: {runtime: tiny, command: [/probe], workers: -1}", []string{"spec.workers"}},
	{"too many retries", jobHead + "spec: {runtime: tiny, command: [/probe], retries: 1000}", []string{"spec.retries"}},
	{"a name that is none", strings.Replace(jobHead, "bad", "Bad_Name", 1) + "spec: {runtime: tiny, command: [/probe]}", []string{"metadata.name"}},
	{"a name that is too long", strings.Replace(jobHead, "bad", strings.Repeat("x", 60), 1) + "spec: {runtime: tiny, command: [/probe]}", []string{"metadata.name", "52"}},
	{"two documents", jobHead + "spec: {runtime: tiny, command: [/probe]}\n---\n" + jobHead, []string{"more than one document"}},
}

// commands are lines that make no sense.
var commands = []struct {
	args []string
	want []string
}{
	{[]string{"frobnicate"}, []string{"frobnicate"}},
	{[]string{"model", "frobnicate"}, []string{"frobnicate"}},
	{[]string{"up", "now"}, []string{"now"}},
	{[]string{"up", "--frobnicate"}, []string{"--frobnicate"}},
	{[]string{"up", "--config", "/nowhere/config.yaml"}, []string{"/nowhere/config.yaml"}},
	{[]string{"status", "-o", "yaml"}, []string{"-o yaml", "json"}},
	{[]string{"jobs", "-o", "yaml"}, []string{"-o yaml", "json"}},
	{[]string{"train"}, []string{"FILE or DIR"}},
	{[]string{"train", "/nowhere"}, []string{"/nowhere"}},
	{[]string{"train", "/nowhere", "--param", "x"}, []string{"param"}},
	{[]string{"logs"}, []string{"--component"}},
	{[]string{"logs", "nobody"}, []string{"nobody", "polder jobs"}},
	{[]string{"logs", "--component", "nobody"}, []string{"nobody", "kubelet"}},
	{[]string{"logs", "nobody", "--worker", "x"}, []string{"--worker"}},
	{[]string{"cancel", "nobody"}, []string{"nobody", "polder jobs"}},
	{[]string{"model", "show", "nobody"}, []string{"nobody", "polder model ls"}},
	{[]string{"model", "pull", "nobody"}, []string{"NAME[@ALIAS|@DIGEST] and DIR"}},
	{[]string{"model", "pull", "nobody", "/nowhere"}, []string{"nobody"}},
	{[]string{"model", "pull", "nobody@sha256:1", "/nowhere"}, []string{"nobody"}},
	{[]string{"model", "rm", "nobody"}, []string{"nobody"}},
	{[]string{"model", "push", "/nowhere", "x"}, []string{"/nowhere"}},
	{[]string{"model", "promote", "nobody", "production"}, []string{"nobody", "polder model ls"}},
	{[]string{"model", "rollback", "nobody@production"}, []string{"nobody"}},
	{[]string{"model", "gate", "nobody", "production", "--evaluation"}, []string{"nobody"}},
	{[]string{"model", "diff", "nobody", "nobody@production"}, []string{"nobody"}},
	{[]string{"image", "push", "/nowhere", "x/y"}, []string{"/nowhere"}},
	{[]string{"image", "push", ".", "Not A Name"}, []string{"Not A Name"}},
	{[]string{"image", "push", "doc.go", "x/y"}, []string{"doc.go"}},
	{[]string{"image", "rm", "x/none"}, []string{"x/none"}},
	{[]string{"runtime", "build", "abacus"}, []string{"abacus", "pytorch-cpu"}},
	{[]string{"reset"}, []string{"--yes"}},
}

// configs are files that are no configuration of a cloud.
var configs = []struct {
	name, text string
	want       []string
}{
	{"unknown field", "network: {colour: blue}", []string{`"colour"`}},
	{"malformed", "network: [", []string{"line"}},
	{"wrong kind", "kind: TrainJob", []string{"kind", "CloudConfig"}},
	{"wrong version", "apiVersion: v2", []string{"apiVersion", "polder.dev/v1alpha1"}},
	{"range too small", "network: {cidr: 10.9.0.0/24}", []string{"network.cidr", "/16"}},
	{"public range", "network: {cidr: 8.8.0.0/16}", []string{"network.cidr", "private"}},
	{"unknown platform", "sandbox: {platform: paper}", []string{"sandbox.platform", "systrap"}},
	{"name that is none", "node: {name: Not_A_Name}", []string{"node.name"}},
	{"log too small", "logs: {fileBytesMax: 5}", []string{"logs.fileBytesMax"}},
}

// TestBadInput gives the program what it cannot take. Each time it says so in one
// sentence that names the field or the file, exits with 2, and creates nothing.
func TestBadInput(t *testing.T) {
	c := shared(t)
	c.tiny(t)
	c.calm(t)
	objects, pushed := inventory(t, c), images(t, c)
	unchanged := func(t *testing.T) {
		t.Helper()
		if d := cmp.Diff(objects, inventory(t, c)); d != "" {
			t.Errorf("objects came or went: %s", d)
		}
		if d := cmp.Diff(pushed, images(t, c)); d != "" {
			t.Errorf("images came or went: %s", d)
		}
	}
	for _, f := range jobFiles {
		t.Run("job: "+f.name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "job.yaml"), f.text)
			c.refuses(t, []string{"train", path}, append(f.want, path)...)
			unchanged(t)
		})
	}
	t.Run("job: directory without a job", func(t *testing.T) {
		c.refuses(t, []string{"train", t.TempDir()}, "job.yaml")
	})
	for _, l := range commands {
		t.Run("command: "+strings.Join(l.args, " "), func(t *testing.T) { c.refuses(t, l.args, l.want...) })
	}
	unchanged(t)

	for _, f := range configs {
		t.Run("configuration: "+f.name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "cloud.yaml"), f.text)
			n := own(t, "config")
			n.refuses(t, []string{"up", "--config", path}, append(f.want, path)...)
			n.absent(t)
		})
	}
	t.Run("configuration: another range for a cloud that was up", func(t *testing.T) {
		path := write(t, filepath.Join(t.TempDir(), "cloud.yaml"), "network: {cidr: 192.168.0.0/16}")
		c.refuses(t, []string{"up", "--config", path}, "network.cidr", "polder reset")
	})
	t.Run("reset of something else", func(t *testing.T) {
		dir := t.TempDir()
		keep := write(t, filepath.Join(dir, "thesis.txt"), "years of work")
		n, err := at(dir)
		if err != nil {
			t.Fatal(err)
		}
		n.refuses(t, []string{"reset", "--yes"}, dir, "holds no cloud")
		if content(keep) == "" {
			t.Error("the file is gone")
		}
	})
}

// refuses runs the program and checks that it exits with 2 and complains in one
// line that holds all of want.
func (c *cloud) refuses(t *testing.T, args []string, want ...string) {
	t.Helper()
	out, errs, code := c.run(args...)
	if code != 2 {
		t.Errorf("exit code %d, want 2: %s%s", code, out, errs)
	}
	if !strings.HasPrefix(errs, "polder: ") || strings.Count(strings.TrimSpace(errs), "\n") > 0 {
		t.Errorf("the complaint is not one line: %q", errs)
	}
	for _, w := range want {
		if !strings.Contains(errs, w) {
			t.Errorf("the complaint does not say %q: %s", w, errs)
		}
	}
}

// absent checks that nothing of the cloud is there.
func (c *cloud) absent(t *testing.T) {
	t.Helper()
	for _, p := range []string{c.Dir, c.Run(), c.NetnsPath(), "/sys/class/net/" + c.HostLink()} {
		if _, err := os.Lstat(p); err == nil {
			t.Errorf("%s was made", p)
		}
	}
	if all := c.processes(); len(all) > 0 {
		t.Errorf("processes run: %+v", all)
	}
}

// inventory lists the objects that a command might have left half made.
func inventory(t testing.TB, c *cloud) []string {
	t.Helper()
	var out []string
	for _, l := range []client.ObjectList{
		&v1alpha1.TrainJobList{}, &v1alpha1.ModelList{}, &v1alpha1.RuntimeList{}, &corev1.PersistentVolumeClaimList{}, &corev1.ServiceList{},
	} {
		if err := c.api(t).List(brief(t), l); err != nil {
			t.Fatal(err)
		}
		out = append(out, names(l)...)
	}
	slices.Sort(out)
	return out
}

// calm waits for the end of what earlier tests have removed: jobs and models, and what goes
// with them.
func (c *cloud) calm(t testing.TB) {
	t.Helper()
	waitFor(t, podLimit, "the end of what earlier tests removed", func(ctx context.Context) error {
		there := map[types.UID]bool{}
		for _, l := range []client.ObjectList{&v1alpha1.TrainJobList{}, &v1alpha1.ModelList{}, &corev1.PersistentVolumeClaimList{}, &corev1.ServiceList{}} {
			if err := c.api(t).List(ctx, l, kube.InNamespace("default")); err != nil {
				return err
			}
			err := meta.EachListItem(l, func(o kubernetes.Object) error {
				m := o.(client.Object)
				owner := metav1.GetControllerOf(m)
				if m.GetDeletionTimestamp() != nil || owner != nil && owner.Kind == "TrainJob" && !there[owner.UID] {
					return fmt.Errorf("%T %s is there", o, m.GetName())
				}
				there[m.GetUID()] = true
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func names(l client.ObjectList) (out []string) {
	switch l := l.(type) {
	case *v1alpha1.TrainJobList:
		for _, i := range l.Items {
			out = append(out, "job "+i.Name)
		}
	case *v1alpha1.ModelList:
		for _, i := range l.Items {
			out = append(out, "model "+i.Name)
		}
	case *v1alpha1.RuntimeList:
		for _, i := range l.Items {
			out = append(out, "runtime "+i.Name)
		}
	case *corev1.PersistentVolumeClaimList:
		for _, i := range l.Items {
			if i.DeletionTimestamp == nil && i.Namespace == "default" {
				out = append(out, "claim "+i.Name)
			}
		}
	case *corev1.ServiceList:
		for _, i := range l.Items {
			if i.Namespace == "default" {
				out = append(out, "service "+i.Name)
			}
		}
	}
	return out
}

// TestMachineRefused brings the program to machines that cannot run a cloud, or
// cannot run this one. It says what is missing, why, and what to do, exits with
// 1, and starts nothing.
func TestMachineRefused(t *testing.T) {
	t.Run("not root", func(t *testing.T) {
		c := own(t, "nobody")
		out, errs, code := c.runCmd(exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", reachable(t, c.bin), "up", "--data-dir="+c.Dir))
		if code != 1 || !strings.Contains(errs, "root") || !strings.Contains(errs, "sudo") {
			t.Errorf("exit code %d: %s%s", code, out, errs)
		}
		c.absent(t)
	})
	t.Run("port 53 is taken", func(t *testing.T) {
		c := own(t, "dns")
		errs, code := elsewhere(t, c, "udp", ":53")
		declined(t, errs, code, "port 53", "own addresses")
		c.absent(t)
	})
	t.Run("the range is taken", func(t *testing.T) {
		other := shared(t)
		c := own(t, "range")
		path := write(t, filepath.Join(t.TempDir(), "cloud.yaml"), "network: {cidr: "+other.CIDR.String()+"}")
		_, errs, code := c.run("up", "--config", path)
		declined(t, errs, code, other.CIDR.String(), other.HostLink(), "network.cidr")
		c.absent(t)
	})
	t.Run("the disk is too small", func(t *testing.T) {
		disk := smallDisk(t, filepath.Join(t.TempDir(), "disk"), "64m")
		c, err := at(filepath.Join(disk, "cloud"))
		if err != nil {
			t.Fatal(err)
		}
		_, errs, code := c.run("up")
		declined(t, errs, code, "GiB free", "at least 2 GiB", "--data-dir")
		c.absent(t)
	})
}

// declined checks that the preflight refused, with a reason and a remedy.
func declined(t *testing.T, errs string, code int, want ...string) {
	t.Helper()
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	for _, w := range append(want, "error: ", "why: ", "do: ", "nothing was started") {
		if !strings.Contains(errs, w) {
			t.Errorf("the complaint does not say %q: %s", w, errs)
		}
	}
}

// reachable is path, or a copy of it, that every user may run.
func reachable(t *testing.T, path string) string {
	t.Helper()
	if exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "test", "-x", path).Run() == nil {
		return path
	}
	dir, err := os.MkdirTemp(dataRoot, "polder-program-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", path, dir).CombinedOutput(); err != nil {
		t.Fatalf("copying the program: %v: %s", err, out)
	}
	return filepath.Join(dir, filepath.Base(path))
}

// elsewhere runs `polder up` in a network namespace of its own, in which somebody
// listens.
func elsewhere(t *testing.T, c *cloud, network, address string) (errs string, code int) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- func() error {
			if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
				return err
			}
			l, err := net.ListenPacket(network, address)
			if err != nil {
				return err
			}
			defer l.Close()
			ctx, cancel := context.WithTimeout(context.Background(), upLimit)
			defer cancel()
			_, errs, code = c.runCmd(exec.CommandContext(ctx, c.bin, "up", "--data-dir="+c.Dir))
			return nil
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return errs, code
}

// smallDisk mounts a file system of the given size at dir until the end of t.
func smallDisk(t *testing.T, dir, size string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("polder-e2e", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(fmt.Errorf("mounting a small disk: %w", err))
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}
