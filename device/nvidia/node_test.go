package nvidia

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// live makes the machine one that is not a copy, with these device files.
func live(t *testing.T, m *devicetest.Machine, files ...string) *device.Host {
	t.Helper()
	for _, f := range files {
		m.Files["dev/"+f] = &fstest.MapFile{Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666}
	}
	h, err := m.Host()
	if err != nil {
		t.Fatal(err)
	}
	h.Live = true
	return h
}

func TestDeviceFilesOfALiveMachine(t *testing.T) {
	h := live(t, machineOf("", cardA, cardB), "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
	devices, err := New().Discover(t.Context(), h)
	if got, want := pathsOf(&devices[0]), "/dev/nvidia1 /dev/nvidiactl /dev/nvidia-uvm /dev/nvidia-uvm-tools /dev/nvidia-modeset"; got != want {
		t.Errorf("device files are %s, not %s", got, want)
	}
	if len(devices[1].Nodes) > 0 || !strings.Contains(fmt.Sprint(err), cardB.address+": its device file cannot be used") {
		t.Errorf("a card without a device file has %s; problems: %v", pathsOf(&devices[1]), err)
	}
	for _, n := range devices[0].Nodes {
		if n.Shared != (n.Path != "/dev/nvidia1") {
			t.Errorf("%s: shared is %v", n.Path, n.Shared)
		}
	}
}

func TestMissingControlFileIsAProblem(t *testing.T) {
	_, err := New().Discover(t.Context(), live(t, machineOf("", cardA), "nvidia1", "nvidiactl"))
	if !strings.Contains(fmt.Sprint(err), "/dev/nvidia-uvm: cannot be used") {
		t.Errorf("problems are %v", err)
	}
}
