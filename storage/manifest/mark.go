package manifest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"polder.dev/polder/storage"
)

// Keys of Meta.System that say what an object is.
const (
	KeyStatic  = "swift.slo"     // JSON of Static; the data is the manifest
	KeyDynamic = "swift.dlo"     // CONTAINER/PREFIX
	KeyLink    = "swift.symlink" // JSON of Link
)

// The limits of Swift's own configuration, which /info announces.
const (
	DepthMax = 10 // manifests within manifests
	LinksMax = 2  // symlinks to symlinks
)

var (
	// ErrSegment says that a segment is missing, forbidden, or not what the manifest
	// says of it.
	ErrSegment = errors.New("segment of a large object cannot be read")
	// ErrLoop says that symlinks or manifests lead on for too long.
	ErrLoop = errors.New("too many levels of links or manifests")
	// ErrTarget says that a static link's target is another version than it was.
	ErrTarget = errors.New("target of a static link has changed")
)

// Static is what is known of a static large object without its manifest.
type Static struct {
	// ETag is the MD5 of the segments' ETags, Size the sum of their bytes.
	ETag string `json:"etag"`
	Size int64  `json:"size"`
}

// Link is where a symlink leads.
type Link struct {
	Account   string `json:"account"` // as naming knows it
	Container string `json:"container"`
	Object    string `json:"object"`
	// Shown is the account as its client named it; "" where the client did not.
	Shown string `json:"shown,omitempty"`
	// ETag, Size of a static link's target: it reads that and nothing else.
	ETag string `json:"etag,omitempty"`
	Size int64  `json:"size,omitempty"`
}

// StaticOf reads the mark of a static large object, or returns nil.
func StaticOf(m *storage.Meta) *Static {
	s := &Static{}
	if !mark(m, KeyStatic, s) {
		return nil
	}
	return s
}

// LinkOf reads the mark of a symlink, or returns nil.
func LinkOf(m *storage.Meta) *Link {
	l := &Link{}
	if !mark(m, KeyLink, l) {
		return nil
	}
	return l
}

// DynamicOf returns the CONTAINER/PREFIX of a dynamic large object, or "".
func DynamicOf(m *storage.Meta) string { return m.System[KeyDynamic] }

func mark(m *storage.Meta, key string, v any) bool {
	s, ok := m.System[key]
	return ok && json.Unmarshal([]byte(s), v) == nil
}

// Set writes a mark.
func Set(m *storage.Meta, key string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("manifest: a mark of text and numbers cannot fail to encode: " + err.Error())
	}
	if m.System == nil {
		m.System = map[string]string{}
	}
	m.System[key] = string(b)
}

// Plain says that an object is what it seems.
func Plain(m *storage.Meta) bool {
	_, s := m.System[KeyStatic]
	_, d := m.System[KeyDynamic]
	_, l := m.System[KeyLink]
	return !s && !d && !l
}

// Source opens what manifests and links name, for one who asks. Accounts are as naming
// knows them. It returns objects as they are stored, and any error for what the one who
// asks may not see.
type Source interface {
	Open(ctx context.Context, account, container, key string) (storage.Object, error)
	List(ctx context.Context, account, container string, o storage.ListOptions) (storage.Listing, error)
}

// Opened is an object that may be made of others.
type Opened struct {
	storage.Object
	// Account, Container and Key are where links led to.
	Account, Container, Key string
	// Linked counts the links that were followed.
	Linked int
	// Large is what the object is made of, or nil where it is plain.
	Large Large
}

// Large is a large object.
type Large interface {
	storage.Object
	// Probe opens the segment that holds an offset, so that an error comes before the
	// first byte is sent.
	Probe(off int64) error
}

// Follow goes where links lead from o, which it closes when it leaves it. The object at
// the end is as it is stored.
func Follow(ctx context.Context, src Source, account, container, key string, o storage.Object) (*Opened, error) {
	out := &Opened{Object: o, Account: account, Container: container, Key: key}
	want := ""
	for {
		info := out.Info()
		if want != "" && want != info.ETag && want != ETag(info) {
			_ = out.Close()
			return out, ErrTarget
		}
		l := LinkOf(&info.Meta)
		if l == nil {
			return out, nil
		}
		_ = out.Close()
		if out.Linked++; out.Linked > LinksMax {
			return out, ErrLoop
		}
		out.Account, out.Container, out.Key, want = l.Account, l.Container, l.Object, l.ETag
		next, err := src.Open(ctx, l.Account, l.Container, l.Object)
		if err != nil {
			return out, err
		}
		out.Object = next
	}
}

// Open follows links, and turns a manifest into the object it describes. It takes o over.
func Open(ctx context.Context, src Source, account, container, key string, o storage.Object) (*Opened, error) {
	return open(ctx, src, account, container, key, o, 0)
}

func open(ctx context.Context, src Source, account, container, key string, o storage.Object, depth int) (*Opened, error) {
	out, err := Follow(ctx, src, account, container, key, o)
	if err != nil {
		return out, err
	}
	info := out.Info()
	if Plain(&info.Meta) {
		return out, nil
	}
	if depth >= DepthMax {
		_ = out.Close()
		return out, fmt.Errorf("%w: %w", ErrSegment, ErrLoop)
	}
	var large Large
	if s := StaticOf(&info.Meta); s != nil {
		large, err = newJoined(ctx, src, out.Account, out.Object, s, depth)
	} else {
		large, err = newDynamic(ctx, src, out.Account, out.Object, depth)
	}
	if err != nil {
		return out, err
	}
	out.Large, out.Object = large, large
	return out, nil
}

// ETag is what clients see: of a static large object that of its segments.
func ETag(i storage.Info) string {
	if s := StaticOf(&i.Meta); s != nil {
		return s.ETag
	}
	return i.ETag
}
