package lock

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/storage"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func in(d time.Duration, m Mode) State { return State{Mode: m, Until: now.Add(d)} }

func TestRemovable(t *testing.T) {
	for name, c := range map[string]struct {
		s      State
		bypass bool
		locked bool
	}{
		"no lock":               {State{}, false, false},
		"governance":            {in(time.Hour, Governance), false, true},
		"governance bypassed":   {in(time.Hour, Governance), true, false},
		"compliance":            {in(time.Hour, Compliance), false, true},
		"compliance bypassed":   {in(time.Hour, Compliance), true, true},
		"over":                  {in(-time.Second, Compliance), false, false},
		"over at its time":      {in(0, Compliance), false, false},
		"hold":                  {State{Hold: On}, true, true},
		"hold beside what over": {State{Mode: Governance, Until: now.Add(-1), Hold: On}, true, true},
		"hold off":              {State{Hold: Off}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := storage.Meta{}
			c.s.Put(&m)
			err := Guard(now, c.bypass)(&storage.Info{Meta: m})
			if errors.Is(err, ErrLocked) != c.locked || err != nil && !c.locked {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRetain(t *testing.T) {
	for name, c := range map[string]struct {
		from, to State
		bypass   bool
		refused  bool
	}{
		"first":                     {State{}, in(time.Hour, Governance), false, false},
		"longer":                    {in(time.Hour, Governance), in(2*time.Hour, Governance), false, false},
		"shorter":                   {in(time.Hour, Governance), in(time.Minute, Governance), false, true},
		"shorter, bypassed":         {in(time.Hour, Governance), in(time.Minute, Governance), true, false},
		"none, bypassed":            {in(time.Hour, Governance), State{}, true, false},
		"none":                      {in(time.Hour, Governance), State{}, false, true},
		"to compliance":             {in(time.Hour, Governance), in(time.Hour, Compliance), false, true},
		"to compliance, bypassed":   {in(time.Hour, Governance), in(time.Hour, Compliance), true, false},
		"from compliance, bypassed": {in(time.Hour, Compliance), in(time.Hour, Governance), true, true},
		"longer compliance":         {in(time.Hour, Compliance), in(2*time.Hour, Compliance), false, false},
		"shorter compliance":        {in(time.Hour, Compliance), in(time.Minute, Compliance), true, true},
		"what is over":              {in(-time.Hour, Compliance), in(time.Minute, Governance), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.from.Hold = On
			got, err := c.from.Retain(c.to, now, c.bypass)
			if errors.Is(err, ErrLocked) != c.refused {
				t.Fatalf("got %v", err)
			}
			if want := (State{Mode: c.to.Mode, Until: c.to.Until, Hold: On}); err == nil && got != want {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestOf(t *testing.T) {
	want := State{Mode: Compliance, Until: now.Add(time.Hour), Hold: Off}
	m := storage.Meta{System: map[string]string{"other": "stays"}}
	want.Put(&m)
	got, err := Of(m)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	State{}.Put(&m)
	if d := cmp.Diff(map[string]string{"other": "stays"}, m.System); d != "" {
		t.Error(d)
	}
	broken := storage.Meta{System: map[string]string{keyMode: "COMPLIANCE", keyUntil: "soon"}}
	if err := Guard(now, true)(&storage.Info{Meta: broken}); err == nil {
		t.Error("a lock that cannot be read counts as none")
	}
}

func TestConfig(t *testing.T) {
	c, err := ParseConfig(storage.Settings{})
	if c != nil || err != nil || c.State(now) != (State{}) {
		t.Errorf("not enabled: %+v, %v", c, err)
	}
	set := storage.Settings{Labels: map[string]string{Label: (&Config{Mode: Governance, Years: 1}).Encode()}}
	if c, err = ParseConfig(set); err != nil || !Enabled(set) {
		t.Fatal(err)
	}
	if got := c.State(now); got.Until != now.AddDate(1, 0, 0) || got.Mode != Governance {
		t.Errorf("got %+v", got)
	}
}
