package amd

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/device"
)

// output has the keys that rocm-smi of ROCm 6.1 and 5.7 prints, shortened.
const output = `WARNING: AMD GPU device(s) is/are in a low-power state. Check power control/runtime_status
{"card1": {"GPU ID": "0x738c", "Unique ID": "0x2f048617326b1ea", "Serial Number": "692024000810", "PCI Bus": "0000:1E:00.0",
  "VRAM Total Memory (B)": "34342961152", "VRAM Total Used Memory (B)": "6782976", "Card series": "Arcturus GL-XL [Instinct MI100]",
  "Card vendor": "Advanced Micro Devices, Inc. [AMD/ATI]", "Temperature (Sensor edge) (C)": "31.0", "Max Graphics Package Power (W)": "290.0",
  "Average Graphics Package Power (W)": "39.0", "GPU use (%)": "50", "VBIOS version": "113-D3430400-037", "(Topology) Numa Affinity": "0"},
 "card0": {"Device ID": "0x66a1", "Unique ID": "0x2150e7d042a1124", "Serial Number": "N/A", "PCI Bus": "0000:07:00.0", "Card Series": "0x1002",
  "Card Vendor": "Advanced Micro Devices, Inc. [AMD/ATI]", "Average Graphics Package Power (W)": "N/A (Secondary die)", "GFX Version": "gfx906",
  "(Topology) Numa Affinity": "4294967295"},
 "card2": {"Card Series": "BW", "Card Vendor": "C-3000 IC Design Co., Ltd.", "HCU use (%)": "0.0"},
 "system": {"Driver version": "6.3.6", "(Topology) Link type between DRM devices 0 and 1": "XGMI", "(Topology) Link type between DRM devices 0 and 7": "PCIE"}}`

func TestRead(t *testing.T) {
	devices, err := New().Read([]byte(output))
	if err != nil || len(devices) != 2 {
		t.Fatalf("%d devices, error %v; two of the three cards are AMD's", len(devices), err)
	}
	a, b := devices[0], devices[1]
	if a.PCI.Address != "0000:07:00.0" || a.PCI.ID() != "1002:66a1" || a.UUID != "amd-02150e7d042a1124" || a.Serial != "" || a.Architecture != "gfx906" || a.NUMA != nil || a.Reading.Power != nil {
		t.Errorf("the first is %+v at %+v", a, a.PCI)
	}
	if b.Product != "MI100" || b.Memory != 34342961152 || b.Serial != "692024000810" || b.Driver.Version != "6.3.6" || *b.NUMA != 0 || b.Form != device.Whole {
		t.Errorf("the second is %+v", b)
	}
	if d := cmp.Diff(&device.Reading{Utilization: new(0.5), MemoryUsed: new(int64(6782976)), Temperature: new(31.0), Power: new(39.0), PowerLimit: new(290.0)}, b.Reading); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]device.Link{{To: b.UUID, Type: "xgmi"}}, a.Links); d != "" {
		t.Error(d)
	}
	if o := b.Provenance["memory"]; o.From != "rocm-smi" {
		t.Errorf("memory is from %+v", o)
	}
	if _, noted := a.Provenance["serial"]; noted {
		t.Error("the origin of a serial number that is not known is told")
	}
}

func TestReadRefuses(t *testing.T) {
	for _, s := range []string{"", "null", "[]", "{}", `{"card0": "x"}`, `{"card0": {"Card vendor": "NVIDIA"}}`, `{"gpu0": {}}`, `{"card-1": {"Card vendor": "0x1002"}}`} {
		if _, err := New().Read([]byte(s)); !errors.Is(err, device.ErrFormat) {
			t.Errorf("%q gives %v", s, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(output))
	f.Add([]byte(`{"card0": {"Card vendor": "0x1002", "PCI Bus": "x"}, "system": []}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		devices, err := New().Read(b)
		if (err == nil) == (len(devices) == 0) {
			t.Errorf("%d devices, error %v", len(devices), err)
		}
		for _, d := range devices {
			if d.Product == "" || d.Memory < 0 || d.NUMA != nil && *d.NUMA < 0 {
				t.Errorf("%+v", d)
			}
		}
	})
}

func TestToolFillsWhatFilesLack(t *testing.T) {
	m := machine()
	delete(m.Files, "sys/module/amdgpu/version")
	for name := range m.Files {
		if strings.HasSuffix(name, "/serial_number") {
			delete(m.Files, name)
		}
	}
	m.Tool("rocm-smi -a --json", `{"card0": {"Card vendor": "0x1002", "PCI Bus": "0000:83:00.0", "Serial Number": "7", "Card series": "Navi 22 [Radeon RX 6700/6700 XT / 6800M]"}, "system": {"Driver version": "6.3.6"}}`)
	devices, err := discover(t, m)
	if err != nil {
		t.Fatal(err)
	}
	d := devices[5]
	if d.Serial != "7" || d.Driver.Version != "6.3.6" || d.Product != "Radeon RX 6700/6700 XT / 6800M" || d.Provenance["serial"].From != "rocm-smi" || d.Provenance["product"].From != "rocm-smi" {
		t.Errorf("it is %+v", d)
	}
	m.Tool("rocm-smi -a --json", "Traceback (most recent call last):")
	if devices, err := discover(t, m); len(devices) != 6 || err == nil || !strings.Contains(err.Error(), "rocm-smi: cannot be used") {
		t.Errorf("%d devices, error %v", len(devices), err)
	}
	m.Tools = nil
	if devices, err := discover(t, m); len(devices) != 6 || err != nil {
		t.Errorf("without the program %d devices, error %v; files are enough", len(devices), err)
	}
}
