package nvidia

import (
	"testing"

	"polder.dev/polder/device"
	"polder.dev/polder/device/devicetest"
)

// onDump discovers on a copy of a machine.
func onDump(t *testing.T, name string) ([]device.Device, error) {
	t.Helper()
	return New().Discover(t.Context(), devicetest.Copy(t, devicetest.Dump(t, name, nil)))
}
