// Package residency judges where the bytes of a bucket may lie and whereto they may
// flow. Every tier, cache, replica, sync and copy asks it before the first byte moves.
//
// Anybody may import it. It is pure: it holds nothing, reads no clock, and knows of no
// store. A place whose jurisdiction nobody has named is in none, so a bucket that is
// bound refuses it; nothing is guessed, and there is no default region.
package residency

import (
	"fmt"
	"slices"
	"strings"

	"polder.dev/polder/storage"
)

// jurisdictionBytesMax bounds a name.
const jurisdictionBytesMax = 128

// Place is where bytes may lie.
type Place struct {
	// Name tells a person which place is meant: "tier hot", "remote s3.example.org".
	Name string
	// Jurisdiction as a path, "eu/de"; "" is unknown.
	Jurisdiction string
}

func (p Place) String() string {
	if p.Jurisdiction == "" {
		return p.Name + ", whose jurisdiction is unknown,"
	}
	return p.Name + " in " + p.Jurisdiction
}

// Check says what is wrong with a bucket's residency, as storage.ErrInvalid.
func Check(r storage.Residency) error {
	if r.Home == "" && len(r.Allowed) > 0 {
		return fmt.Errorf("%w: a residency that allows %s needs a home", storage.ErrInvalid, strings.Join(r.Allowed, ", "))
	}
	for _, j := range allowed(r) {
		if err := CheckJurisdiction(j); err != nil {
			return err
		}
	}
	return nil
}

// CheckJurisdiction says what is wrong with a name: it is made of words of small
// letters, digits and dashes, with slashes between them.
func CheckJurisdiction(j string) error {
	bad := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }
	words := strings.Split(j, "/")
	if len(j) > jurisdictionBytesMax || slices.ContainsFunc(words, func(w string) bool { return w == "" || strings.ContainsFunc(w, bad) }) {
		return fmt.Errorf("%w: jurisdiction %q; it is made of small letters, digits and dashes, as in eu/de", storage.ErrInvalid, j)
	}
	return nil
}

// Admit returns storage.ErrForbiddenPlace if a bucket's bytes may not lie in one of the
// places. The error says which, where it is, and what the bucket allows.
func Admit(bucket string, r storage.Residency, places ...Place) error {
	if !r.Bound() {
		return nil
	}
	for _, p := range places {
		if !within(p.Jurisdiction, r) {
			return fmt.Errorf("%w: %s cannot hold bytes of bucket %s, which allows %s",
				storage.ErrForbiddenPlace, p, bucket, strings.Join(allowed(r), ", "))
		}
	}
	return nil
}

// Bucket is one end of a copy.
type Bucket struct {
	Name      string
	Residency storage.Residency
}

// Flow returns storage.ErrForbiddenPlace unless bytes of one bucket may be copied to
// another: wherever the other may put them now or later, the one must allow. So a bucket
// that is bound gives nothing to one that is not.
func Flow(from, to Bucket) error {
	if !from.Residency.Bound() {
		return nil
	}
	if !to.Residency.Bound() {
		return fmt.Errorf("%w: bucket %s may lie anywhere, and bytes of bucket %s only in %s",
			storage.ErrForbiddenPlace, to.Name, from.Name, strings.Join(allowed(from.Residency), ", "))
	}
	for _, j := range allowed(to.Residency) {
		if !within(j, from.Residency) {
			return fmt.Errorf("%w: bucket %s may lie in %s, and bytes of bucket %s only in %s",
				storage.ErrForbiddenPlace, to.Name, j, from.Name, strings.Join(allowed(from.Residency), ", "))
		}
	}
	return nil
}

// Holding is what one place holds of a bucket: a line of a report.
type Holding struct {
	Place Place
	Class storage.Class
	// Objects and Bytes count all versions. What a nearer place holds as well counts in
	// each.
	Objects, Bytes int64
}

func allowed(r storage.Residency) []string {
	if r.Home == "" || slices.Contains(r.Allowed, r.Home) {
		return r.Allowed
	}
	return append([]string{r.Home}, r.Allowed...)
}

func within(j string, r storage.Residency) bool {
	return j != "" && slices.ContainsFunc(allowed(r), func(a string) bool {
		return j == a || strings.HasPrefix(j, a+"/")
	})
}
