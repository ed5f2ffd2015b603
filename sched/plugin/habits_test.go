package plugin

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/sched"
)

func TestHabitsCountAPodOnce(t *testing.T) {
	h, err := newHabits("")
	if err != nil {
		t.Fatal(err)
	}
	often, once := sched.Request{CPU: 1}, sched.Request{CPU: 2}
	for i := range 30 {
		h.meet(types.UID(fmt.Sprint("a", i)), often)
		h.meet("b", once) // tried again and again
	}
	w := h.workload()
	if len(w.Kinds) != 2 || w.Kinds[0].Request.CPU != 1 || w.Kinds[0].Weight < 20*w.Kinds[1].Weight {
		t.Errorf("%+v", w.Kinds)
	}
}

// TestHabitsAreToldSeldom: each time costs the board what it remembers.
func TestHabitsAreToldSeldom(t *testing.T) {
	h, err := newHabits("")
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for i := range 20_000 {
		h.meet(types.UID(fmt.Sprint(i)), sched.Request{CPU: int64(i % 7)})
		if h.due() {
			h.workload()
			told++
		}
	}
	if told < 20 || told > 100 {
		t.Errorf("told %d times of 20000 pods", told)
	}
}

func TestHabitsFromAFile(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no JSON":       {`kinds:`, "invalid character"},
		"other field":   {`{"Kinds":[{"Weight":1,"Request":{"GPU":1}}]}`, "GPU"},
		"no weight":     {`{"Kinds":[{"Request":{"CPU":1}}]}`, "weight is 0"},
		"half a device": {`{"Kinds":[{"Weight":1,"Request":{"Share":500}}]}`, "set count"},
	} {
		if _, err := newHabits(expect(t, c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
	if _, err := newHabits(t.TempDir() + "/none"); err == nil {
		t.Error("a file that is not there was read")
	}
	h, err := newHabits(expect(t, `{"Kinds":[{"Weight":1,"Request":{"CPU":1}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	h.meet("p", sched.Request{CPU: 5})
	if w := h.workload(); len(w.Kinds) != 1 || w.Kinds[0].Request.CPU != 1 {
		t.Errorf("what the file says was learned away: %+v", w)
	}
}
