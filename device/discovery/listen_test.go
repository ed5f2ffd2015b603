package discovery

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/device"
	"polder.dev/polder/device/kernlog"
)

// keen takes for a fault what the kernel itself writes when it is asked for an event
// that there is none of, and the same words of anybody else, if it hears them.
type keen struct{ odd }

const complaint = "synth uevent: /devices/virtual/mem/null: "

func (keen) Hear(message string) (device.Heard, bool) {
	text, ok := strings.CutPrefix(message, complaint)
	return device.Heard{Address: "0000:3b:00.0", Fault: device.Fault{Code: text, State: device.Failed}}, ok
}

// TestListenBelievesTheKernelOnly has a program write a fault into the log of this
// machine, and then the kernel another: the machine knows the second and not the first.
func TestListenBelievesTheKernelOnly(t *testing.T) {
	const at = "0000:3b:00.0"
	ears := []device.Adapter{keen{odd{name: "keen"}}}
	m := &Machine{root: "/", log: newLedger(ears), own: map[string]device.Health{}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changed, err := m.Listen(ctx)
	if err != nil {
		t.Skipf("this machine lets nobody read the kernel's log: %v", err)
	}
	m.log.note("keen", device.Heard{Address: at, Over: true}) // what other tests left there
	for _, level := range []string{"", "<0>", "<3>"} {
		if err := os.WriteFile(kernlog.File, []byte(level+complaint+"made up\n"), 0); err != nil {
			t.Skipf("nobody may write to the kernel's log: %v", err)
		}
	}
	_ = os.WriteFile("/sys/class/mem/null/uevent", []byte("polder"), 0)
	once := newLedger(ears)
	if err := once.replay(); err != nil || len(once.at) == 0 {
		t.Skipf("the kernel cannot be made to write a message here: %v", err)
	}
	select {
	case <-changed:
	case <-time.After(time.Minute):
		t.Fatal("what the kernel wrote was not heard")
	}
	devices := []device.Device{{UUID: "a", PCI: &device.Function{Address: at}, Health: device.Of()}}
	m.found(devices, 0)
	for who, f := range map[string][]device.Fault{"listening": devices[0].Health.Faults, "reading once": {once.at[at][0].Fault}} {
		if len(f) != 1 || f[0].Code == "made up" || len(once.at[at]) != 1 {
			t.Errorf("%s, heard are %+v", who, f)
		}
	}
	cancel()
	for range changed { //nolint:revive // until it is closed
	}
}
