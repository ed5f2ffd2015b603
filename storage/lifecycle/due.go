package lifecycle

import (
	"strings"
	"time"

	"polder.dev/polder/storage"
)

// Day is what "days" of a rule are. With others than this, tests see in seconds what
// would take days; then nothing waits for midnight.
const Day = 24 * time.Hour

// Version is one, and what is known of its place among those of its key.
type Version struct {
	*storage.Info
	// Since is when a newer version came; zero for the newest.
	Since time.Time
	// Newer is how many older versions are newer than this one.
	Newer int
	// Alone says that there is no older version.
	Alone bool
}

// Action is what is due.
type Action uint8

const (
	Nothing Action = iota
	// Expire removes the newest version, which in a bucket with versions puts a delete
	// marker on it.
	Expire
	// Remove removes the version for good.
	Remove
	// Move changes the storage class.
	Move
)

// fits says whether a rule is enabled and means a version.
func (r *Rule) fits(v *storage.Info) bool {
	c := r.conditions()
	if r.Status != "Enabled" || c.Prefix != nil && !strings.HasPrefix(v.Key, *c.Prefix) {
		return false
	}
	if c.Above != nil && v.Size <= *c.Above || c.Below != nil && v.Size >= *c.Below {
		return false
	}
	for _, t := range c.Tags {
		if have, ok := v.Meta.Tags[t.Key]; !ok || have != t.Value {
			return false
		}
	}
	return true
}

// Due says what is due for a version now, and for Move to which class. To remove comes
// before to move, and of several classes the one that was due last counts.
func (c *Config) Due(v Version, now time.Time, day time.Duration) (Action, string) {
	class, last := "", time.Time{}
	for i := range c.Rules {
		r := &c.Rules[i]
		if !r.fits(v.Info) {
			continue
		}
		if a := r.due(v, now, day); a != Nothing {
			return a, ""
		}
		for at, to := range r.moves(v, day) {
			if !v.Deleted && !at.After(now) && !at.Before(last) {
				class, last = to, at
			}
		}
	}
	if class == "" {
		return Nothing, ""
	}
	return Move, class
}

func (r *Rule) due(v Version, now time.Time, day time.Duration) Action {
	if !v.Latest {
		n := r.NoncurrentExpiration
		if n != nil && n.Days != nil && (n.Keep == nil || v.Newer >= *n.Keep) && !after(v.Since, *n.Days, day).After(now) {
			return Remove
		}
		return Nothing
	}
	at, ok := r.expiry(v.Info, day)
	due := ok && !at.After(now)
	if v.Deleted {
		marker := r.Expiration != nil && r.Expiration.Marker != nil && *r.Expiration.Marker
		if v.Alone && (marker || due) {
			return Remove
		}
		return Nothing
	}
	if due {
		return Expire
	}
	return Nothing
}

// expiry is when a rule ends the newest version.
func (r *Rule) expiry(v *storage.Info, day time.Duration) (time.Time, bool) {
	switch e := r.Expiration; {
	case e == nil:
	case e.Days != nil:
		return after(v.Modified, *e.Days, day), true
	case e.Date != nil:
		at, err := parseDate(*e.Date)
		return at, err == nil
	}
	return time.Time{}, false
}

// moves yields when a version is to have which class.
func (r *Rule) moves(v Version, day time.Duration) func(func(time.Time, string) bool) {
	return func(yield func(time.Time, string) bool) {
		if !v.Latest {
			for _, t := range r.NoncurrentTransition {
				if t.Days != nil && (t.Keep == nil || v.Newer >= *t.Keep) && !yield(after(v.Since, *t.Days, day), t.Class) {
					return
				}
			}
			return
		}
		for _, t := range r.Transition {
			at := time.Time{}
			switch {
			case t.Days != nil:
				at = after(v.Modified, *t.Days, day)
			case t.Date != nil:
				d, err := parseDate(*t.Date)
				if err != nil {
					continue
				}
				at = d
			}
			if !yield(at, t.Class) {
				return
			}
		}
	}
}

// after is S3's way to count: whole days, up to the next midnight.
func after(t time.Time, days int, day time.Duration) time.Time {
	at := t.Add(time.Duration(days) * day)
	if day != Day {
		return at
	}
	if m := at.UTC().Truncate(Day); !m.Equal(at) {
		return m.Add(Day)
	}
	return at
}

// Expiry says when the newest version of an object ends, and by which rule; the first
// that ends it.
func (c *Config) Expiry(v *storage.Info) (at time.Time, id string, ok bool) {
	if c == nil {
		return at, id, false
	}
	for i := range c.Rules {
		r := &c.Rules[i]
		if !r.fits(v) {
			continue
		}
		if t, has := r.expiry(v, Day); has && (!ok || t.Before(at)) {
			at, id, ok = t, r.ID, true
		}
	}
	return at, id, ok
}

// Overdue says whether an upload is to be aborted.
func (c *Config) Overdue(u storage.Upload, now time.Time, day time.Duration) bool {
	for i := range c.Rules {
		r := &c.Rules[i]
		p := r.conditions().Prefix
		if r.Abort == nil || r.Abort.Days == nil || r.Status != "Enabled" || p != nil && !strings.HasPrefix(u.Key, *p) {
			continue
		}
		if !after(u.Begun, *r.Abort.Days, day).After(now) {
			return true
		}
	}
	return false
}

// aborts says whether there is any rule for uploads.
func (c *Config) aborts() bool {
	for i := range c.Rules {
		if c.Rules[i].Abort != nil {
			return true
		}
	}
	return false
}
