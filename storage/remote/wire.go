package remote

import (
	"context"
	"fmt"
	"io"
	"time"

	"polder.dev/polder/storage"
)

// place is where an object lies in the remote store.
type place struct{ container, key string }

// words are what a protocol can say of an object in headers.
type words struct {
	contentType string
	headers     map[string]string // of HTTP
	user        map[string]string // x-amz-meta-*, X-Object-Meta-*; names in small letters
	expires     time.Time
	manifest    string // of a dynamic large object of Swift
}

// entry is what the remote tells of an object.
type entry struct {
	key      string
	size     int64
	tag      string // bare, as its conditions want it
	plain    bool   // tag is the MD5 of the bytes
	modified time.Time
	version  string
	latest   bool
	marker   bool // it is a delete marker
	large    bool // it is made of segments that go with it
	words    words
}

// payload is the body of a request.
type payload struct {
	bytes []byte    // all of it, so that the request can be made again
	r     io.Reader // or a stream of size
	size  int64
	md5   string // in hexadecimal; "" where it is not known yet
}

// demand is a condition of a write. At most one is set.
type demand struct {
	absent bool
	tag    string
}

// query asks for a page of a listing.
type query struct {
	prefix, delimiter, after, afterID, end string
	reverse                                bool
	limit                                  int
}

// advance goes on behind a page. A remote that does not is one to give up, or a listing
// would have no end.
func (q *query) advance(p page) error {
	back := p.next < q.after
	if q.reverse {
		back = p.next > q.after && q.after != ""
	}
	if back || p.next == q.after && p.nextID == q.afterID {
		return fmt.Errorf("%w: the remote lists again what it has listed, from %q on", storage.ErrUnavailable, p.next)
	}
	q.after, q.afterID = p.next, p.nextID
	return nil
}

// page is one; next and nextID go on.
type page struct {
	entries      []entry
	uploads      []storage.Upload
	prefixes     []string
	more         bool
	next, nextID string
}

// container is a remote bucket.
type container struct {
	name    string
	created time.Time
	usage   storage.Usage
}

// removal is what the remote did.
type removal struct {
	version string
	marker  bool
}

// ability is what a protocol can do.
type ability struct {
	absent      bool  // a write that asks for no object is judged at its moment
	conditional bool  // so is one that asks for a tag
	reverse     bool  // listings
	late        bool  // finish says the words, not begin
	versions    bool  // of objects
	expires     bool  // objects cease by themselves
	wordsBytes  int   // all user words together
	putMax      int64 // bytes of one put
	copyMax     int64
	pageMax     int
}

// wire is a protocol. Its errors are of package storage's kinds.
type wire interface {
	ability() ability
	close()

	makeContainer(ctx context.Context, name string) error
	dropContainer(ctx context.Context, name string) error
	container(ctx context.Context, name string) (container, error)
	containers(ctx context.Context) ([]container, error)
	setVersioning(ctx context.Context, name string, on bool) error

	head(ctx context.Context, p place, version string) (entry, error)
	// get reads n bytes from off of the object that has tag.
	get(ctx context.Context, p place, version, tag string, off, n int64) (io.ReadCloser, error)
	put(ctx context.Context, p place, b payload, w words, d demand) (entry, error)
	// rewrite gives an object other words; copy makes another of it, of parts of
	// the sizes if there are any.
	rewrite(ctx context.Context, p place, e entry, w words) error
	copy(ctx context.Context, from place, e entry, to place, w words, d demand, sizes []int64) (entry, error)
	remove(ctx context.Context, p place, version string, d demand) (removal, error)
	list(ctx context.Context, container string, q query) (page, error)
	versions(ctx context.Context, container string, q query) (page, error)

	// begin starts an object of parts. A hidden one is no upload of a client's.
	begin(ctx context.Context, p place, w words, hidden bool) (string, error)
	part(ctx context.Context, p place, id string, number int, b payload) (storage.Part, error)
	parts(ctx context.Context, p place, id string, after, limit int) ([]storage.Part, bool, error)
	finish(ctx context.Context, p place, id string, parts []storage.Part, w words, d demand) (entry, error)
	abort(ctx context.Context, p place, id string) error
	uploads(ctx context.Context, container string, q query) (page, error)
	// orphans ends what writes left behind that were cut before the time.
	orphans(ctx context.Context, container string, before time.Time) error
}
