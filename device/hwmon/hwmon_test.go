package hwmon

import (
	"testing"
	"testing/fstest"

	"polder.dev/polder/device"
)

func host(files map[string]string) *device.Host {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text + "\n")}
	}
	return &device.Host{FS: m}
}

func TestFindPrefersTheDeviceToItsParts(t *testing.T) {
	h := host(map[string]string{
		"d/hwmon/hwmon3/name": "i915_gt0", "d/hwmon/hwmon3/energy1_input": "1",
		"d/hwmon/hwmon4/name": "i915", "d/hwmon/hwmon4/energy1_input": "5000000",
	})
	s, ok := Find(h, "d", "xe", "i915")
	if got := s.Micro("energy", 1, "input"); !ok || got == nil || *got != 5 {
		t.Errorf("the energy is %v, found %v; the device's is 5 joules", got, ok)
	}
	if _, ok := Find(h, "d", "amdgpu"); ok {
		t.Error("found meters of another name")
	}
	if _, ok := Find(h, "none"); ok {
		t.Error("found meters where there are none")
	}
}

func TestSensors(t *testing.T) {
	h := host(map[string]string{
		"d/hwmon/hwmon0/name":         "amdgpu",
		"d/hwmon/hwmon0/temp1_label":  "edge",
		"d/hwmon/hwmon0/temp1_input":  "-3500",
		"d/hwmon/hwmon0/temp2_label":  "junction",
		"d/hwmon/hwmon0/temp2_input":  "48000",
		"d/hwmon/hwmon0/temp3_label":  "mem",
		"d/hwmon/hwmon0/temp3_input":  "hot",
		"d/hwmon/hwmon0/power1_input": "-5",
		"d/hwmon/hwmon0/power1_cap":   "0",
	})
	s, _ := Find(h, "d")
	for _, c := range []struct {
		what string
		got  *float64
		want *float64
	}{
		{"a temperature below zero", s.Temperature("edge"), new(-3.5)},
		{"the second label", s.Temperature("hotspot", "junction"), new(48.0)},
		{"a temperature that is no number", s.Temperature("mem"), nil},
		{"a label that is not there", s.Temperature("hbm"), nil},
		{"power below zero", s.Micro("power", 1, "input"), nil},
		{"no limit", Positive(s.Micro("power", 1, "cap")), nil},
		{"the first that is known", First(nil, new(2.0), new(1.0)), new(2.0)},
		{"nothing known", First(nil, nil), nil},
		{"no meters", Sensors{}.Micro("power", 1, "input"), nil},
	} {
		if (c.got == nil) != (c.want == nil) || c.got != nil && *c.got != *c.want {
			t.Errorf("%s: got %v, want %v", c.what, c.got, c.want)
		}
	}
}
