package nvidia

import (
	"path"
	"runtime"
	"slices"

	"polder.dev/polder/device"
)

// libraries of the driver that programs load for computing and for video, and the
// version in the name they load it by. "" is loaded by the driver's version alone.
// Which there are differs between drivers.
var libraries = []struct{ name, version string }{
	{"libcuda.so", "1"},
	{"libcudadebugger.so", "1"},
	{"libnvcuvid.so", "1"},
	{"libnvidia-allocator.so", "1"},
	{"libnvidia-cfg.so", "1"},
	{"libnvidia-compiler.so", ""},
	{"libnvidia-encode.so", "1"},
	{"libnvidia-gpucomp.so", ""},
	{"libnvidia-ml.so", "1"},
	{"libnvidia-nvvm.so", "4"},
	{"libnvidia-nvvm70.so", "4"},
	{"libnvidia-opencl.so", "1"},
	{"libnvidia-opticalflow.so", "1"},
	{"libnvidia-pkcs11-openssl3.so", ""},
	{"libnvidia-pkcs11.so", ""},
	{"libnvidia-ptxjitcompiler.so", "1"},
	{"libnvoptix.so", "1"},
}

// programs of the driver that jobs run.
var programs = []string{"/usr/bin/nvidia-smi", "/usr/bin/nvidia-debugdump", "/usr/bin/nvidia-cuda-mps-control", "/usr/bin/nvidia-cuda-mps-server"}

// Where Debian and its kin keep libraries, and where all others do.
const (
	dirX86    = "/usr/lib/x86_64-linux-gnu"
	dirARM    = "/usr/lib/aarch64-linux-gnu"
	dirOthers = "/usr/lib64"
)

// Edits implements device.Adapter.
//
// The files of the driver must be the host's, as they fit one version of the kernel's
// module only. Libraries go where loaders of Debian's kin look and where those of
// others do, so that an image need not be of the host's kin. Those for graphics are
// left out.
//
// CUDA_VISIBLE_DEVICES is not set: CUDA sees what there are device files for, and
// numbers it from 0, so a number from the host would be wrong, and of two lists from
// two claims the last would hide the first's devices. NVIDIA_VISIBLE_DEVICES=void is
// NVIDIA's own convention for CDI: it keeps their older hook from adding all cards.
func (*Adapter) Edits(devices []device.Device) device.Edits {
	e := device.Edits{Nodes: device.Nodes(devices)}
	if len(devices) == 0 {
		return e
	}
	var versions []string
	for i := range devices {
		if v := devices[i].Driver.Version; versionForm.MatchString(v) && !slices.Contains(versions, v) {
			versions = append(versions, v)
		}
	}
	e.Mounts = mounts(versions)
	e.Env = map[string]string{"NVIDIA_VISIBLE_DEVICES": "void"}
	return e
}

func mounts(versions []string) []device.Mount {
	var out []device.Mount
	for _, l := range libraries {
		var names []string
		if l.version != "" {
			names = append(names, l.name+"."+l.version)
		}
		for _, v := range versions {
			names = append(names, l.name+"."+v)
		}
		for _, n := range names {
			out = append(out, everywhere(n)...)
		}
	}
	for _, p := range programs {
		out = append(out, device.Mount{Host: p, Container: p})
	}
	// Firmware of the processor on the card; its two files are those of Turing with
	// GA100, and of later chips.
	for _, v := range versions {
		for _, f := range []string{"gsp_tu10x.bin", "gsp_ga10x.bin"} {
			file := path.Join("/lib/firmware/nvidia", v, f)
			out = append(out, device.Mount{Host: file, Container: file})
		}
	}
	return out
}

// everywhere mounts a library, wherever the host has it, to the places where loaders
// look.
func everywhere(name string) []device.Mount {
	own := dirX86
	if runtime.GOARCH == "arm64" {
		own = dirARM
	}
	var out []device.Mount
	for _, w := range [][2]string{{dirX86, dirX86}, {dirX86, dirOthers}, {dirARM, dirARM}, {dirARM, dirOthers}, {dirOthers, dirOthers}, {dirOthers, own}} {
		out = append(out, device.Mount{Host: path.Join(w[0], name), Container: path.Join(w[1], name)})
	}
	return out
}
