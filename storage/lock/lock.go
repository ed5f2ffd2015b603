package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"polder.dev/polder/storage"
)

// Label is the bucket's setting: JSON of Config. What is not there is not enabled.
const Label = "s3.lock"

// What a version's storage.Meta.System says.
const (
	keyMode  = "lock.mode"
	keyUntil = "lock.until" // RFC 3339
	keyHold  = "lock.hold"  // "ON" or "OFF"; "" is neither
)

// Mode says who may remove a version before its time.
type Mode string

const (
	// Governance: whoever may bypass it.
	Governance Mode = "GOVERNANCE"
	// Compliance: nobody.
	Compliance Mode = "COMPLIANCE"
)

// Valid says whether there is such a mode.
func (m Mode) Valid() bool { return m == Governance || m == Compliance }

// ErrLocked says that a version must stay, or stay as it is.
var ErrLocked = errors.New("the version is locked")

// Config is a bucket's. Mode is "" where new versions are not retained by themselves.
type Config struct {
	Mode  Mode `json:"mode,omitempty"`
	Days  int  `json:"days,omitempty"`
	Years int  `json:"years,omitempty"`
}

// ParseConfig reads a bucket's label; nil says that locks are not enabled.
func ParseConfig(s storage.Settings) (*Config, error) {
	text := s.Labels[Label]
	if text == "" {
		return nil, nil
	}
	c := &Config{}
	if err := json.Unmarshal([]byte(text), c); err != nil {
		return nil, fmt.Errorf("reading the object lock of a bucket: %w", err)
	}
	return c, nil
}

// Enabled says that a bucket may hold locked versions, so that it must keep versions.
func Enabled(s storage.Settings) bool { return s.Labels[Label] != "" }

// Encode is the form that is kept.
func (c *Config) Encode() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("lock: a mode and two numbers cannot fail to encode: " + err.Error())
	}
	return string(b)
}

// State is what a new version is retained by itself.
func (c *Config) State(now time.Time) State {
	if c == nil || c.Mode == "" {
		return State{}
	}
	return State{Mode: c.Mode, Until: now.AddDate(c.Years, 0, c.Days)}
}

// Hold is a version's legal hold, which has no end of its own.
type Hold string

const (
	On  Hold = "ON"
	Off Hold = "OFF"
)

// State is a version's lock. The zero value is none.
type State struct {
	Mode  Mode
	Until time.Time
	Hold  Hold
}

// Of reads the lock from metadata. What cannot be read is an error, and must not be
// taken for none.
func Of(m storage.Meta) (State, error) {
	s := State{Mode: Mode(m.System[keyMode]), Hold: Hold(m.System[keyHold])}
	if s.Mode == "" {
		return s, nil
	}
	var err error
	if s.Until, err = time.Parse(time.RFC3339Nano, m.System[keyUntil]); err != nil {
		return s, fmt.Errorf("reading a version's lock: %w", err)
	}
	return s, nil
}

// Put writes the lock into metadata, in place of what was there.
func (s State) Put(m *storage.Meta) {
	if m.System == nil {
		m.System = map[string]string{}
	}
	delete(m.System, keyMode)
	delete(m.System, keyUntil)
	delete(m.System, keyHold)
	if s.Mode != "" {
		m.System[keyMode] = string(s.Mode)
		m.System[keyUntil] = s.Until.UTC().Format(time.RFC3339Nano)
	}
	if s.Hold != "" {
		m.System[keyHold] = string(s.Hold)
	}
}

// Removable returns ErrLocked for a version that must stay. bypass is that of governance.
func (s State) Removable(now time.Time, bypass bool) error {
	switch {
	case s.Hold == On:
		return fmt.Errorf("%w by a legal hold", ErrLocked)
	case s.retained(now) && !(s.Mode == Governance && bypass):
		return fmt.Errorf("%w in mode %s until %s", ErrLocked, s.Mode, s.Until.UTC().Format(time.RFC3339))
	}
	return nil
}

func (s State) retained(now time.Time) bool { return s.Mode != "" && now.Before(s.Until) }

// Retain returns the state with another retention, or ErrLocked where that would loosen
// it: an end that comes sooner, or another mode. to without a mode takes it away.
func (s State) Retain(to State, now time.Time, bypass bool) (State, error) {
	out := State{Mode: to.Mode, Until: to.Until, Hold: s.Hold}
	tighter := to.Mode == s.Mode && !to.Until.Before(s.Until)
	if s.retained(now) && !tighter && !(s.Mode == Governance && bypass) {
		return s, fmt.Errorf("%w in mode %s until %s", ErrLocked, s.Mode, s.Until.UTC().Format(time.RFC3339))
	}
	return out, nil
}

// Guard is for storage.DeleteOptions.
func Guard(now time.Time, bypass bool) func(*storage.Info) error {
	return func(v *storage.Info) error {
		s, err := Of(v.Meta)
		if err != nil {
			return err
		}
		return s.Removable(now, bypass)
	}
}
