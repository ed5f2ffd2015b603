package storage

// Residency says in which jurisdictions the bytes of a bucket may lie: those of its
// objects, of every copy, and of parts that are not an object yet. Names are paths, so
// "eu" allows what lies in "eu/de". The zero value allows every place.
type Residency struct {
	// Home is the jurisdiction that the bucket belongs to; it is allowed.
	Home string `json:",omitempty"`
	// Allowed are further ones.
	Allowed []string `json:",omitempty"`
}

// Bound says that not every place is allowed.
func (r Residency) Bound() bool { return r.Home != "" || len(r.Allowed) > 0 }
