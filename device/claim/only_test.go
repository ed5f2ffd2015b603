package claim

import (
	"testing"

	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device"
)

// TestOnly keeps every alternative of a claim to the named devices, and whatever a name
// says stays a name.
func TestOnly(t *testing.T) {
	selectors := func(c resourcev1.DeviceClaim) (all [][]resourcev1.DeviceSelector) {
		for _, r := range c.Requests {
			if r.Exactly != nil {
				all = append(all, r.Exactly.Selectors)
			}
			for _, s := range r.FirstAvailable {
				all = append(all, s.Selectors)
			}
		}
		return all
	}
	for _, software := range [][]string{{"cuda"}, {"cuda", "cann"}} {
		r := device.Requirement{Count: 1, Software: software}
		before, err := Compile(r)
		if err != nil {
			t.Fatal(err)
		}
		c := *before.DeepCopy()
		Only(&c, nil)
		if len(selectors(c)[0]) != len(selectors(before)[0]) {
			t.Error("none keeps it to something")
		}
		Only(&c, []string{"a", `b"] || true || "" in ["`})
		const want = `device.driver == "accelerator.polder.dev" && device.attributes["accelerator.polder.dev"].uuid in ["a", "b\"] || true || \"\" in [\""]`
		for i, s := range selectors(c) {
			if len(s) != len(selectors(before)[i])+1 || s[len(s)-1].CEL.Expression != want {
				t.Errorf("alternative %d has %d selectors, the last is %s", i, len(s), s[len(s)-1].CEL.Expression)
			}
		}
		if len(selectors(c)) != len(software) {
			t.Errorf("there are %d alternatives", len(selectors(c)))
		}
	}
}
