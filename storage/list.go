package storage

// PageMax bounds a page, whatever Limit says (Swift: 10,000 names a listing).
const PageMax = 10_000

// ListOptions say which part of a listing is wanted. Keys are compared as bytes.
type ListOptions struct {
	// Prefix of the keys.
	Prefix string
	// Delimiter folds keys with the same text up to its first occurrence after Prefix
	// into one entry of Listing.Prefixes. It may have several characters.
	Delimiter string
	// After begins behind this key, or behind all that it is a folded prefix of; From
	// begins at a key. End stops before a key. With Reverse, After and From are where a
	// descending listing begins, and End where it stops.
	After, From, End string
	// AfterID goes on within the versions or uploads of After: behind the version or
	// upload of this id.
	AfterID string
	// Reverse lists in descending order.
	Reverse bool
	// Limit of keys and prefixes together; 0, or more than PageMax, is PageMax.
	Limit int
}

// Listing is a page.
type Listing struct {
	// Objects of List and Versions.
	Objects []Info
	// Uploads of Uploads.
	Uploads []Upload
	// Prefixes that Delimiter folded, each with the delimiter.
	Prefixes []string
	// More says that the page was cut by Limit; Next and NextID are then the After and
	// AfterID of the next page.
	More         bool
	Next, NextID string
}

// Size is how many entries of Limit the page took.
func (l *Listing) Size() int { return len(l.Objects) + len(l.Uploads) + len(l.Prefixes) }

// Max is Limit within its bounds.
func (o ListOptions) Max() int {
	if o.Limit <= 0 || o.Limit > PageMax {
		return PageMax
	}
	return o.Limit
}
