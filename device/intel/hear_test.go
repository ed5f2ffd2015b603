package intel

import (
	"testing"

	"polder.dev/polder/device"
)

func TestHear(t *testing.T) {
	const wedged = "xe 0000:03:00.0: [drm] *ERROR* CRITICAL: Xe has declared device 0000:03:00.0 as wedged.\n" +
		"IOCTLs and executions are blocked. Only a rebind may clear the failure\n" +
		"Please file a _new_ bug report at https://gitlab.freedesktop.org/drm/xe/kernel/issues/new"
	if h, ok := New().Hear(wedged); !ok || h.Address != "0000:03:00.0" || h.Fault.State != device.Failed || h.Over {
		t.Errorf("a wedged card is %+v, %v", h, ok)
	}
	for _, message := range []string{
		"xe 0000:03:00.0: [drm] Tile0: GT0: Engine reset: engine_class=rcs, logical_mask: 0x1, guc_id=4, state=0x0",
		"i915 0000:00:02.0: [drm] GPU HANG: ecode 12:1:85dffffb, in chrome [1234]",
		"amdgpu 0000:03:00.0: [drm] *ERROR* CRITICAL: Xe has declared device 0000:03:00.0 as wedged.",
		"Xe has declared device 0000:03:00.0 as wedged.", "",
	} {
		if h, ok := New().Hear(message); ok {
			t.Errorf("%q is %+v", message, h)
		}
	}
}
