package habana

import (
	"testing"

	"polder.dev/polder/device"
)

func TestHear(t *testing.T) {
	for message, want := range map[string]bool{
		"habanalabs hl0: Failed to reset! Device is NOT usable":                 true,
		"habanalabs hl0: Successfully finished resetting the device":            true,
		"accel accel0: Successfully finished resetting the 0000:19:00.0 device": true,
		"habanalabs hl0: Killing user session":                                  false,
		"python3[9]: habanalabs hl0: Failed to reset! Device is NOT usable":     false,
		"xe 0000:03:00.0: Successfully finished resetting the device":           false,
		"Failed to reset! Device is NOT usable":                                 false,
	} {
		if h, ok := New().Hear(message); ok != want || h != (device.Heard{}) {
			t.Errorf("%q is %+v, %v", message, h, ok)
		}
	}
}
