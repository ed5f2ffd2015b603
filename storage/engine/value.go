package engine

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/wire"
)

// version is the value of entries c and v, and of u and p with fewer fields in use.
type version struct {
	rev      uint64
	null     bool // written without versioning
	marker   bool // a delete marker
	size     int64
	modified int64 // Unix, in nanoseconds
	etag     string
	upload   uint64 // of an object made of parts
	parts    int
	meta     storage.Meta
	place    string // outside of the store that has the data as well
	sum      string // of the data there
	state    state
}

// state says where in the store the data of a version lies.
type state byte

const (
	stateNative state = iota // in its entry, or in those of its parts
	stateWhole               // in its entry, though it was made of parts
	stateAway                // nowhere
)

// Flags of a value's first byte; the upper four bits are the format's number, 0.
const (
	flagNull = 1 << iota
	flagMarker
	flagMD5 // the ETag is 16 bytes, not text
	flagMeta
)

// encode writes a version; docs/formats/store.md, "Values", describes it.
func (v *version) encode() []byte {
	b := make([]byte, 1, 64)
	b = binary.AppendUvarint(b, v.rev)
	b = binary.AppendUvarint(b, uint64(v.size))
	b = binary.AppendVarint(b, v.modified)
	b = binary.AppendUvarint(b, v.upload)
	b = binary.AppendUvarint(b, uint64(v.parts))
	if sum, err := hex.DecodeString(v.etag); err == nil && len(sum) == 16 {
		b[0] |= flagMD5
		b = append(b, sum...)
	} else {
		b = appendText(b, v.etag)
	}
	if v.null {
		b[0] |= flagNull
	}
	if v.marker {
		b[0] |= flagMarker
	}
	if m := v.appendWhereabouts(appendMeta(nil, &v.meta)); len(m) > 0 {
		b[0] |= flagMeta
		b = append(b, m...)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendMeta writes fields as number, text; and maps as number, count, texts.
func appendMeta(b []byte, m *storage.Meta) []byte {
	if m.ContentType != "" {
		b = appendText(append(b, 1), m.ContentType)
	}
	if !m.Expires.IsZero() {
		b = binary.AppendVarint(append(b, 2), m.Expires.UnixNano())
	}
	for i, t := range []map[string]string{m.Headers, m.User, m.Tags, m.Checksums, m.System} {
		if len(t) == 0 {
			continue
		}
		b = binary.AppendUvarint(append(b, byte(3+i)), uint64(len(t)))
		for _, k := range slices.Sorted(maps.Keys(t)) {
			b = appendText(appendText(b, k), t[k])
		}
	}
	return b
}

func (v *version) appendWhereabouts(b []byte) []byte {
	if v.place != "" {
		b = appendText(append(b, 8), v.place)
	}
	if v.sum != "" {
		b = appendText(append(b, 10), v.sum)
	}
	if v.state != stateNative {
		b = append(b, 9, byte(v.state))
	}
	return b
}

func (v *version) whereabouts() storage.Whereabouts {
	return storage.Whereabouts{Place: v.place, Sum: v.sum, Away: v.state == stateAway}
}

// reader takes a value apart, and remembers that it could not.
type reader struct{ wire.Reader }

func (r *reader) text() string { return string(r.Bytes()) }

func (r *reader) table() map[string]string {
	n := r.Uvarint()
	if n == 0 {
		return nil
	}
	out := map[string]string{}
	for ; n > 0 && !r.Bad; n-- {
		k := r.text()
		out[k] = r.text()
	}
	return out
}

func decode(b []byte) (*version, error) {
	if len(b) == 0 || b[0]>>4 != 0 {
		return nil, fmt.Errorf("%w: a value of %d bytes in a format that is unknown", storage.ErrCorrupt, len(b))
	}
	r := &reader{wire.Reader{Left: b[1:]}}
	v := &version{null: b[0]&flagNull != 0, marker: b[0]&flagMarker != 0}
	v.rev = r.Uvarint()
	v.size = int64(r.Uvarint())
	v.modified = r.Varint()
	v.upload = r.Uvarint()
	v.parts = int(r.Uvarint())
	if b[0]&flagMD5 != 0 {
		v.etag = hex.EncodeToString(r.Take(16))
	} else {
		v.etag = r.text()
	}
	if b[0]&flagMeta != 0 {
		r.meta(v)
	}
	if r.Bad || len(r.Left) > 0 {
		return nil, fmt.Errorf("%w: a value cannot be read", storage.ErrCorrupt)
	}
	return v, nil
}

func (r *reader) meta(v *version) {
	m := &v.meta
	tables := []*map[string]string{&m.Headers, &m.User, &m.Tags, &m.Checksums, &m.System}
	for len(r.Left) > 0 && !r.Bad {
		switch field := int(r.Take(1)[0]); {
		case field == 1:
			m.ContentType = r.text()
		case field == 2:
			m.Expires = time.Unix(0, r.Varint()).UTC()
		case field >= 3 && field < 3+len(tables):
			*tables[field-3] = r.table()
		case field == 8:
			v.place = r.text()
		case field == 10:
			v.sum = r.text()
		case field == 9:
			v.state = state(r.Take(1)[0])
			r.Bad = r.Bad || v.state == stateNative || v.state > stateAway
		default:
			r.Bad = true
		}
	}
}

// info is what a client is told.
func (v *version) info(key string, latest bool) storage.Info {
	i := storage.Info{
		Key: key, Size: v.size, ETag: v.etag, Modified: time.Unix(0, v.modified).UTC(), Meta: v.meta,
		Version: storage.NullVersion, Latest: latest, Deleted: v.marker, Parts: v.parts,
		Revision: v.rev, Whereabouts: v.whereabouts(),
	}
	if !v.null {
		i.Version = idOf(v.rev)
	}
	return i
}

// bucketValue is the value of entry b. It is rare, so it may be JSON.
type bucketValue struct {
	Number   uint64
	Created  time.Time
	Settings storage.Settings
}

func (v bucketValue) encode() []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("engine: settings have no JSON form: " + err.Error()) // they are numbers and text
	}
	return b
}
