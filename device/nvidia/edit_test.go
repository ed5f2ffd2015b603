package nvidia

import (
	"slices"
	"strings"
	"testing"

	"polder.dev/polder/device"
)

func TestEditsOfTwoDevices(t *testing.T) {
	devices, err := discover(t, wholeMachine())
	if err != nil {
		t.Fatal(err)
	}
	e := New().Edits(devices[:2])
	var nodes []string
	for _, n := range e.Nodes {
		nodes = append(nodes, n.Path)
	}
	if want := []string{"/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia0"}; !slices.Equal(nodes, want) {
		t.Errorf("device files are %v, not %v", nodes, want)
	}
	if len(e.Env) != 1 || e.Env["NVIDIA_VISIBLE_DEVICES"] != "void" {
		t.Errorf("the environment is %v", e.Env)
	}
	for _, want := range []device.Mount{
		{Host: "/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05", Container: "/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05"},
		{Host: "/usr/lib/x86_64-linux-gnu/libcuda.so.1", Container: "/usr/lib64/libcuda.so.1"},
		{Host: "/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1", Container: "/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1"},
		{Host: "/usr/lib64/libnvidia-gpucomp.so.580.95.05", Container: "/usr/lib64/libnvidia-gpucomp.so.580.95.05"},
		{Host: "/usr/bin/nvidia-smi", Container: "/usr/bin/nvidia-smi"},
		{Host: "/lib/firmware/nvidia/580.95.05/gsp_ga10x.bin", Container: "/lib/firmware/nvidia/580.95.05/gsp_ga10x.bin"},
	} {
		if !slices.Contains(e.Mounts, want) {
			t.Errorf("%v is not mounted", want)
		}
	}
}

// TestEditsWithoutAVersion: the version becomes part of paths, so it must be one.
func TestEditsWithoutAVersion(t *testing.T) {
	e := New().Edits([]device.Device{{Driver: device.Driver{Version: "1/../../etc"}}})
	if !slices.Contains(e.Mounts, device.Mount{Host: "/usr/lib64/libcuda.so.1", Container: "/usr/lib64/libcuda.so.1"}) {
		t.Error("libcuda.so.1 is not mounted")
	}
	for _, m := range e.Mounts {
		if strings.Contains(m.Host, "..") || strings.Contains(m.Host, "etc") || strings.HasSuffix(m.Host, ".") {
			t.Errorf("mounts %q", m.Host)
		}
	}
}
