package discovery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// odd is an adapter that does what a test says.
type odd struct {
	name     string
	discover func(ctx context.Context) ([]device.Device, error)
}

func (o odd) Name() string                     { return o.name }
func (odd) Owns(*device.Function) bool         { return false }
func (odd) Edits([]device.Device) device.Edits { return device.Edits{} }
func (o odd) Discover(ctx context.Context, _ *device.Host) ([]device.Device, error) {
	return o.discover(ctx)
}

func one(uuid string) func(context.Context) ([]device.Device, error) {
	return func(context.Context) ([]device.Device, error) {
		return []device.Device{{Kind: device.GPU, Vendor: "v", Product: "p", UUID: uuid}}, nil
	}
}

func TestRunOutlivesAdapters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := devicetest.New().Host()
		forever := make(chan struct{})
		v := Run(t.Context(), h, []device.Adapter{
			odd{"good", one("a")},
			odd{"panics", func(context.Context) ([]device.Device, error) { panic("index out of range") }},
			odd{"hangs", func(context.Context) ([]device.Device, error) { <-forever; return nil, nil }},
			odd{"joins", func(context.Context) ([]device.Device, error) {
				return nil, errors.Join(device.Problem{Where: "b", What: "two"}, device.Problem{Where: "a", What: "one"})
			}},
			odd{"twin", one("a")},
		})
		close(forever)
		if len(v.Devices) != 2 || v.Devices[0].UUID == v.Devices[1].UUID || v.Devices[0].Name == v.Devices[1].Name {
			t.Errorf("devices are %+v; two, told apart, were there", v.Devices)
		}
		var said []string
		for _, p := range v.Problems {
			said = append(said, p.Adapter+" "+p.Error())
		}
		text := strings.Join(said, "\n")
		for _, want := range []string{"hangs did not answer", "panics the adapter failed", "joins a: one", "joins b: two", "same UUID"} {
			if !strings.Contains(text, want) {
				t.Errorf("no word of %q in\n%s", want, text)
			}
		}
	})
}

// slow is a meter that does what a test says.
type slow struct {
	odd
	measure func(devices []device.Device)
}

func (s slow) Measure(_ context.Context, _ *device.Host, devices []device.Device) error {
	s.measure(devices)
	return nil
}

func TestMeasureOutlivesMeters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := devicetest.New().Host()
		forever := make(chan struct{})
		hot := func(devices []device.Device) {
			devices[0].Health = device.Of(device.Fault{Code: "hot", State: device.Degraded})
		}
		adapters := []device.Adapter{
			slow{odd{name: "good"}, hot}, slow{odd{name: "panics"}, func([]device.Device) { panic("nil") }},
			slow{odd{name: "hangs"}, func(devices []device.Device) { <-forever; hot(devices) }},
		}
		var devices []device.Device
		for _, a := range adapters {
			devices = append(devices, device.Device{Adapter: a.Name(), Health: device.Health{State: device.Healthy}})
		}
		err := measure(t.Context(), h, adapters, devices)
		close(forever)
		synctest.Wait()
		if err == nil || !strings.Contains(err.Error(), "did not answer") || !strings.Contains(err.Error(), "the adapter failed") {
			t.Errorf("error %v", err)
		}
		for i, want := range []device.State{device.Degraded, device.Healthy, device.Healthy} {
			if devices[i].Health.State != want {
				t.Errorf("%s is %s, not %s", devices[i].Adapter, devices[i].Health.State, want)
			}
		}
	})
}

func TestOpenKeepsInside(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	h, done, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if err := os.Symlink("../..", filepath.Join(dir, "up")); err != nil {
		t.Fatal(err)
	}
	if names := h.Dir("up"); len(names) > 0 {
		t.Errorf("a link to a directory above was followed, to %v", names)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", filepath.Join(dir, "inside")); err != nil {
		t.Fatal(err)
	}
	if h.String("inside") != "1" || h.Link("inside") != "file" || !h.Exists("inside") {
		t.Error("a link within the copy is not followed")
	}
	if got := h.String("link"); got != "" {
		t.Errorf("a link out of the copy was followed, to %q", got)
	}
	if h.Live || h.Run != nil {
		t.Error("a copy is taken for the machine itself")
	}
}

func TestToolLimits(t *testing.T) {
	dir := t.TempDir()
	script := func(text string) string {
		f := filepath.Join(dir, "tool")
		if err := os.WriteFile(f, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
		return f
	}
	h, done, err := OpenLive("/")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if _, err := h.Run(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, device.ErrNoTool) {
		t.Errorf("a program that is not there gives %v", err)
	}
	if out, err := h.Run(t.Context(), script("echo hi")); err != nil || string(out) != "hi\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if _, err := h.Run(t.Context(), script("echo no device >&2; exit 3")); err == nil || !strings.Contains(err.Error(), "no device") {
		t.Errorf("a program that fails gives %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), toolWait/10)
	defer cancel()
	if _, err := h.Run(ctx, script("sleep 60 & sleep 60")); err == nil || !strings.Contains(err.Error(), "did not end") {
		t.Errorf("a program that hangs gives %v", err)
	}
	if _, err := h.Run(t.Context(), script("yes")); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a program that never stops printing gives %v", err)
	}
}

// asTool has this test's program be a vendor's, in a root of its own.
const asTool = "be-a-vendors-program"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == asTool {
		b, err := os.ReadFile("/etc/whose")
		fmt.Print(string(b), err)
		return
	}
	os.Exit(m.Run())
}

// TestOpenLiveElsewhere has the machine's root where a container has it: programs run
// in there, and links of that machine mean its own files.
func TestOpenLiveElsewhere(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may change a program's root directory")
	}
	root := t.TempDir()
	for _, d := range []string{"usr/bin", "etc", "dev"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string][]byte{"usr/bin/vendor-smi": self, "etc/whose": []byte("the host's")} {
		if err := os.WriteFile(filepath.Join(root, file), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/whose", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(filepath.Join(root, "dev/zero"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))); err != nil {
		t.Fatal(err)
	}
	h, done, err := OpenLive(root)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if got := h.String("link"); got != "the host's" {
		t.Errorf("a link of the machine leads to %q", got)
	}
	if out, err := h.Run(t.Context(), "vendor-smi", asTool); err != nil || string(out) != "the host's<nil>" {
		t.Errorf("the program says %q, %v", out, err)
	}
	if n, err := h.Node("/dev/zero", false); err != nil || n.Major != 1 || n.Minor != 5 {
		t.Errorf("the device file is %+v, %v", n, err)
	}
	if _, err := NewMachine(root).Stat("/dev/null"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that only this process has is found on the machine: %v", err)
	}
	if info, err := NewMachine(root).Stat("/link"); err != nil || info.Size() != int64(len("the host's")) {
		t.Errorf("a link is %v, %v", info, err)
	}
}
