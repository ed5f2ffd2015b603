package nvidia

import (
	"strings"
	"testing"

	"polder.dev/polder/device"
)

// FuzzRead feeds the reader, and with it all parsers of what nvidia-smi prints.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"", logOf(cardA, cardMIG), listOf(cardMIG) + matrix3 + logOf(cardA, cardB, cardMIG), matrix3, listOf(cardA),
		"<nvidia_smi_log><gpu><uuid>GPU-1</uuid><mig_mode><current_mig>Enabled", "Unable to determine the device handle for GPU 0000:02:00.0: x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		devices, _ := New().Read(b)
		if len(devices) > cardsMax*partsMax {
			t.Errorf("%d devices", len(devices))
		}
		device.Names(devices)
		for _, d := range devices {
			if d.Memory < 0 || d.Units < 0 || d.Ordinal < 0 || d.Product == "" || d.Health.State == "" {
				t.Errorf("a device is %+v", d)
			}
		}
		parseLost(b, nil)
	})
}

// FuzzFiles feeds the parsers of the driver's files.
func FuzzFiles(f *testing.F) {
	for _, s := range []string{"", "Model: \t\t x\nGPU UUID: \t GPU-1\nDevice Minor: \t 0\nGPU Excluded:\t Yes\n", "DeviceFileMinor: 30\nDeviceFileMode: 292\n",
		"config 1\ngpu0/gi0/ci0/access 4\n", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if i := parseInformation(s); i.minor < -1 || i.minor >= 1<<20 || strings.Contains(i.uuid, "?") {
			t.Errorf("information is %+v", i)
		}
		if n := parseCapability(s); n < -1 || n >= 1<<20 {
			t.Errorf("a capability has the number %d", n)
		}
		for name, n := range parseMinors(s) {
			if n < 0 || n >= 1<<20 {
				t.Errorf("%s has the number %d", name, n)
			}
		}
		if v := parseVersion(s); v != "" && !versionForm.MatchString(v) {
			t.Errorf("the version is %q", v)
		}
	})
}
