package discovery

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

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
	if _, err := run(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, device.ErrNoTool) {
		t.Errorf("a program that is not there gives %v", err)
	}
	if out, err := run(t.Context(), script("echo hi")); err != nil || string(out) != "hi\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if _, err := run(t.Context(), script("echo no device >&2; exit 3")); err == nil || !strings.Contains(err.Error(), "no device") {
		t.Errorf("a program that fails gives %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), toolWait/10)
	defer cancel()
	if _, err := run(ctx, script("sleep 60 & sleep 60")); err == nil || !strings.Contains(err.Error(), "did not end") {
		t.Errorf("a program that hangs gives %v", err)
	}
	if _, err := run(t.Context(), script("yes")); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a program that never stops printing gives %v", err)
	}
}
