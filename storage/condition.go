package storage

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Conditions are those of RFC 9110, section 13. The zero value asks for nothing.
type Conditions struct {
	// Match holds if the object has one of these ETags, NoneMatch if it has none of
	// them; "*" is any ETag. They are compared without quotes and without "W/".
	Match, NoneMatch []string
	// Times count in whole seconds, as HTTP's do.
	ModifiedSince, UnmodifiedSince time.Time
}

// Check judges the conditions in the order of RFC 9110, section 13.2.2. A nil object is
// one that is not there. Reads get ErrNotModified where writes get ErrPrecondition.
func (c Conditions) Check(o *Info, read bool) error {
	if err := c.require(o); err != nil {
		return err
	}
	switch {
	case len(c.NoneMatch) > 0:
		if o != nil && matches(c.NoneMatch, o.ETag) {
			return c.same(read, "the object has this ETag: "+o.ETag)
		}
	case !c.ModifiedSince.IsZero() && read && o != nil:
		if !seconds(o.Modified).After(seconds(c.ModifiedSince)) {
			return ErrNotModified
		}
	}
	return nil
}

func (c Conditions) require(o *Info) error {
	switch {
	case len(c.Match) > 0:
		if o == nil {
			return fmt.Errorf("%w: %w", ErrPrecondition, ErrNoObject)
		}
		if !matches(c.Match, o.ETag) {
			return fmt.Errorf("%w: the object's ETag is %s", ErrPrecondition, o.ETag)
		}
	case !c.UnmodifiedSince.IsZero() && o != nil:
		if seconds(o.Modified).After(seconds(c.UnmodifiedSince)) {
			return fmt.Errorf("%w: the object was modified at %s", ErrPrecondition, o.Modified.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

func (c Conditions) same(read bool, why string) error {
	if read {
		return ErrNotModified
	}
	return fmt.Errorf("%w: %s", ErrPrecondition, why)
}

func matches(tags []string, etag string) bool {
	return slices.ContainsFunc(tags, func(t string) bool { return t == "*" || bare(t) == etag })
}

// bare takes quotes and the mark of a weak ETag off.
func bare(tag string) string { return strings.Trim(strings.TrimPrefix(tag, "W/"), `"`) }

func seconds(t time.Time) time.Time { return t.Truncate(time.Second) }
