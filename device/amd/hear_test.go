package amd

import (
	"strings"
	"testing"

	"polder.dev/polder/device"
)

func TestHear(t *testing.T) {
	for name, c := range map[string]struct {
		message, code string
		state         device.State
		over          bool
	}{
		"a reset begins":            {"amdgpu 0000:c1:00.0: amdgpu: GPU reset begin!", "in-reset", device.Degraded, false},
		"a reset begins, new":       {"amdgpu 0000:c1:00.0: GPU reset begin!. Source:  1", "in-reset", device.Degraded, false},
		"it is on its way":          {"amdgpu 0000:c1:00.0: amdgpu: GPU reset succeeded, trying to resume", "", "", false},
		"it succeeded":              {"amdgpu 0000:c1:00.0: amdgpu: GPU reset(2) succeeded!", "", "", true},
		"it succeeded, new":         {"amdgpu 0000:c1:00.0: GPU reset(11) succeeded!", "", "", true},
		"it failed":                 {"amdgpu 0000:c1:00.0: amdgpu: GPU reset(2) failed", "reset-failed", device.Failed, true},
		"it failed, new":            {"amdgpu 0000:c1:00.0: GPU reset(2) failed with error -110 ", "reset-failed", device.Failed, true},
		"a ring":                    {"amdgpu 0000:c1:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq=7292300, emitted seq=7292304", "", "", false},
		"a ring, old":               {"[drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring gfx timeout, signaled seq=610763, emitted seq=610766", "", "", false},
		"errors":                    {"amdgpu 0000:c1:00.0: amdgpu: 2 uncorrectable hardware errors detected in umc block", "ecc-uncorrected", device.Degraded, false},
		"errors, in all":            {"amdgpu 0000:c1:00.0: amdgpu: Total 3 uncorrectable hardware errors detected in gfx block", "ecc-uncorrected", device.Degraded, false},
		"errors of a die":           {"amdgpu 0000:c1:00.0: amdgpu: {7} socket: 0, die: 0, 3 new uncorrectable hardware errors detected in umc block", "ecc-uncorrected", device.Degraded, false},
		"no errors":                 {"amdgpu 0000:c1:00.0: amdgpu: 0 uncorrectable hardware errors detected in umc block", "", "", false},
		"no errors, in words":       {"amdgpu 0000:c1:00.0: amdgpu: no uncorrectable hardware errors detected", "", "", false},
		"corrected":                 {"amdgpu 0000:c1:00.0: amdgpu: 5 correctable hardware errors detected in umc block", "", "", false},
		"a fatal error":             {"amdgpu 0000:c1:00.0: {1}uncorrectable hardware error(ERREVENT_ATHUB_INTERRUPT) detected!", "hardware-error", device.Failed, false},
		"a fatal error, old":        {"amdgpu 0000:c1:00.0: amdgpu: uncorrectable hardware error(ERREVENT_ATHUB_INTERRUPT) detected!", "hardware-error", device.Failed, false},
		"a fatal error, newest":     {"amdgpu 0000:c1:00.0: {1} Uncorrectable hardware error(ERREVENT_ATHUB_INTERRUPT) detected!", "hardware-error", device.Failed, false},
		"a process's name":          {"amdgpu 0000:c1:00.0: amdgpu:  Process GPU reset begin! pid 47714 thread dxvk-submit", "", "", false},
		"another driver's":          {"xe 0000:c1:00.0: GPU reset begin!", "", "", false},
		"another vendor's function": {"amdgpu: GPU reset begin!", "", "", false},
	} {
		h, ok := New().Hear(c.message)
		if want := c.code != "" || c.over; ok != want || want != (h.Address == "0000:c1:00.0") || h.Fault.Code != c.code || h.Fault.State != c.state || h.Over != c.over {
			t.Errorf("%s: %+v, %v", name, h, ok)
		}
	}
}

func FuzzHear(f *testing.F) {
	f.Add("amdgpu 0000:c1:00.0: amdgpu: GPU reset(2) succeeded!")
	f.Add("amdgpu 0000:c1:00.0: amdgpu: {7} socket: 0, die: 0, 3 new uncorrectable hardware errors detected in umc block")
	f.Fuzz(func(t *testing.T, s string) {
		h, ok := New().Hear(s)
		if a, is := device.Address(h.Address); ok && (!is || a != h.Address || !strings.HasPrefix(s, "amdgpu "+a)) || !ok && h != (device.Heard{}) {
			t.Errorf("%q gives %+v, %v", s, h, ok)
		}
	})
}
