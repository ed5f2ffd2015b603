package devicetest

import (
	"errors"
	"testing"

	"polder.dev/polder/device"
)

// FuzzRead is the fuzz test of a reader whose program tells the PCI address of each
// device. It begins at outputs of it.
func FuzzRead(f *testing.F, r device.Reader, outputs ...string) {
	for _, out := range outputs {
		f.Add([]byte(out))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		devices, err := r.Read(b)
		if (err == nil) != (len(devices) > 0) || err != nil && !errors.Is(err, device.ErrFormat) {
			t.Errorf("%d devices, error %v", len(devices), err)
		}
		device.Names(devices)
		for i := range devices {
			if check(t, &devices[i]); devices[i].PCI == nil {
				t.Errorf("%s is nowhere", devices[i].Name)
			}
		}
	})
}
