package lifecycle

import (
	"errors"
	"fmt"
	"time"
)

// Limits of a configuration, as S3 has them.
const (
	RulesMax = 1000
	idMax    = 255
	keepMax  = 100
	tagsMax  = 10
)

// The kinds of what can be wrong with a configuration, as S3 tells them apart.
var (
	// ErrForm: an element is missing, or has a value that it cannot have.
	ErrForm = errors.New("malformed lifecycle configuration")
	// ErrArgument: a value is out of its bounds.
	ErrArgument = errors.New("invalid lifecycle argument")
	// ErrConflict: elements do not go together.
	ErrConflict = errors.New("invalid lifecycle rule")
)

// Check says what is wrong, and gives rules without an ID one. class says which storage
// classes a transition may name.
func (c *Config) Check(class func(string) bool, newID func() string) error {
	if len(c.Rules) == 0 || len(c.Rules) > RulesMax {
		return fmt.Errorf("%w: there must be 1 to %d rules, not %d", ErrForm, RulesMax, len(c.Rules))
	}
	ids := map[string]bool{}
	for i := range c.Rules {
		r := &c.Rules[i]
		if r.ID == "" {
			r.ID = newID()
		}
		if len(r.ID) > idMax {
			return fmt.Errorf("%w: the ID of rule %d has more than %d characters", ErrArgument, i+1, idMax)
		}
		if ids[r.ID] {
			return fmt.Errorf("%w: rule ID must be unique: %q is there twice", ErrArgument, r.ID)
		}
		ids[r.ID] = true
		if err := r.check(class); err != nil {
			return fmt.Errorf("rule %q: %w", r.ID, err)
		}
	}
	return nil
}

func (r *Rule) check(class func(string) bool) error {
	if r.Status != "Enabled" && r.Status != "Disabled" {
		return fmt.Errorf("%w: Status must be Enabled or Disabled, not %q", ErrForm, r.Status)
	}
	if r.Expiration == nil && r.NoncurrentExpiration == nil && r.Abort == nil && len(r.Transition)+len(r.NoncurrentTransition) == 0 {
		return fmt.Errorf("%w: at least one action needs to be specified", ErrConflict)
	}
	if err := r.checkFilter(); err != nil {
		return err
	}
	if err := r.Expiration.check(); err != nil {
		return err
	}
	if err := r.checkNoncurrent(); err != nil {
		return err
	}
	for _, t := range r.Transition {
		if err := t.check(class); err != nil {
			return err
		}
		if e := r.Expiration; e != nil && e.Days != nil && t.Days != nil && *e.Days <= *t.Days {
			return fmt.Errorf("%w: Days of the Expiration must be above those of the Transition, which are %d", ErrArgument, *t.Days)
		}
	}
	for _, t := range r.NoncurrentTransition {
		if !class(t.Class) {
			return fmt.Errorf("%w: StorageClass %q is none to move to", ErrForm, t.Class)
		}
		if t.Days == nil || *t.Days < 0 {
			return fmt.Errorf("%w: NoncurrentVersionTransition needs NoncurrentDays of 0 or more", ErrArgument)
		}
	}
	if a := r.Abort; a != nil {
		switch {
		case a.Days == nil:
			return fmt.Errorf("%w: AbortIncompleteMultipartUpload needs DaysAfterInitiation", ErrForm)
		case *a.Days < 1:
			return fmt.Errorf("%w: DaysAfterInitiation must be above 0", ErrArgument)
		case len(r.conditions().Tags) > 0:
			return fmt.Errorf("%w: AbortIncompleteMultipartUpload cannot be specified with tags", ErrConflict)
		}
	}
	return nil
}

func (r *Rule) checkFilter() error {
	if (r.Filter == nil) == (r.Prefix == nil) {
		return fmt.Errorf("%w: a rule needs Filter or Prefix, and not both", ErrForm)
	}
	c := r.conditions()
	if f := r.Filter; f != nil {
		n := 0
		for _, there := range []bool{f.Prefix != nil, f.Tag != nil, f.Above != nil, f.Below != nil, f.And != nil} {
			if there {
				n++
			}
		}
		if n > 1 {
			return fmt.Errorf("%w: a Filter has one element; put several into And", ErrForm)
		}
	}
	if len(c.Tags) > tagsMax {
		return fmt.Errorf("%w: a filter has at most %d tags", ErrForm, tagsMax)
	}
	keys := map[string]bool{}
	for _, t := range c.Tags {
		if t.Key == "" || keys[t.Key] {
			return fmt.Errorf("%w: the key %q of a tag is empty or there twice", ErrConflict, t.Key)
		}
		keys[t.Key] = true
	}
	if c.Above != nil && *c.Above < 0 || c.Below != nil && *c.Below < 1 || c.Above != nil && c.Below != nil && *c.Above >= *c.Below {
		return fmt.Errorf("%w: no object's size is within ObjectSizeGreaterThan and ObjectSizeLessThan", ErrConflict)
	}
	if len(c.Tags) > 0 && r.Expiration != nil && r.Expiration.Marker != nil {
		return fmt.Errorf("%w: ExpiredObjectDeleteMarker cannot be specified with tags", ErrConflict)
	}
	return nil
}

func (e *Expiration) check() error {
	if e == nil {
		return nil
	}
	n := 0
	for _, there := range []bool{e.Days != nil, e.Date != nil, e.Marker != nil} {
		if there {
			n++
		}
	}
	switch {
	case n != 1:
		return fmt.Errorf("%w: Expiration needs one of Days, Date and ExpiredObjectDeleteMarker", ErrForm)
	case e.Days != nil && *e.Days < 1:
		return fmt.Errorf("%w: Days of an Expiration must be above 0", ErrArgument)
	case e.Date != nil:
		return checkDate(*e.Date)
	}
	return nil
}

func checkDate(s string) error {
	t, err := parseDate(s)
	if err != nil {
		return fmt.Errorf("%w: Date %w", ErrForm, err)
	}
	if !t.Equal(t.Truncate(24 * time.Hour)) {
		return fmt.Errorf("%w: Date must be at midnight UTC", ErrArgument)
	}
	return nil
}

func (t *Transition) check(class func(string) bool) error {
	switch {
	case !class(t.Class):
		return fmt.Errorf("%w: StorageClass %q is none to move to", ErrForm, t.Class)
	case (t.Days == nil) == (t.Date == nil):
		return fmt.Errorf("%w: Transition needs Days or Date, and not both", ErrForm)
	case t.Days != nil && *t.Days < 0:
		return fmt.Errorf("%w: Days of a Transition must not be below 0", ErrArgument)
	case t.Date != nil:
		return checkDate(*t.Date)
	}
	return nil
}

func (r *Rule) checkNoncurrent() error {
	n := r.NoncurrentExpiration
	switch {
	case n == nil:
	case n.Days == nil:
		return fmt.Errorf("%w: NoncurrentVersionExpiration needs NoncurrentDays", ErrForm)
	case *n.Days < 1:
		return fmt.Errorf("%w: NoncurrentDays must be above 0", ErrArgument)
	case n.Keep != nil && (*n.Keep < 1 || *n.Keep > keepMax):
		return fmt.Errorf("%w: NewerNoncurrentVersions must be 1 to %d", ErrArgument, keepMax)
	}
	return nil
}
