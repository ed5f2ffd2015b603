package swift

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/manifest"
)

// checksAtOnce is how many segments are looked at at a time.
const checksAtOnce = 4

// sent is an element of a manifest as clients send it.
type sent struct {
	path string
	etag string
	size *int64
	rang string
	data []byte
}

// trouble is what is wrong with a segment.
type trouble struct{ name, why string }

// staticPut puts the manifest of a static large object.
func (c *call) staticPut(b *box) error {
	size, err := c.bodySize()
	if err != nil {
		return err
	}
	if size > manifest.BytesMax {
		return refusef(413, "Manifest File > %d bytes", manifest.BytesMax)
	}
	data, err := io.ReadAll(io.LimitReader(c.r.Body, manifest.BytesMax+1))
	if err != nil {
		return err
	}
	if len(data) > manifest.BytesMax {
		return refusef(413, "Manifest File > %d bytes", manifest.BytesMax)
	}
	self := "/" + b.name + "/" + c.object
	list, err := readManifest(data, self)
	if err != nil {
		return err
	}
	o, err := c.putOptions(b, 0)
	if err != nil {
		return err
	}
	if !on(c.q["heartbeat"]) {
		kept, bad := c.checkSegments(b, list)
		if len(bad) > 0 {
			f, kind := c.bulkFormat(false)
			return &fault{status: 400, kind: kind, text: troubles(f, bad)}
		}
		info, st, err := c.staticStore(b, kept, o)
		if err != nil {
			return err
		}
		info.ETag = st.ETag
		c.stored(b, &info, true)
		c.answer(201, "")
		return nil
	}
	return c.staticBeat(b, list, o)
}

// staticBeat answers at once, and says in the body what came of it.
func (c *call) staticBeat(b *box, list []sent, o storage.PutOptions) error {
	f, kind := c.bulkFormat(false)
	p := c.beat(202, kind, true)
	res := &result{status: 201}
	kept, bad := c.checkSegments(b, list)
	if len(bad) > 0 {
		res.status, res.bad = 400, bad
	} else if info, st, err := c.staticStore(b, kept, o); err != nil {
		res.status = faultOf(err).status
	} else {
		res.extra = [][2]string{{"Last Modified", httpTime(info.Modified)}, {"Etag", `"` + st.ETag + `"`}}
	}
	if res.status >= 400 {
		r := reasons[res.status]
		res.body = r[0] + "\n" + r[1]
	}
	return p.end(res.render(f, ""))
}

// staticStore stores a manifest whose segments were checked.
func (c *call) staticStore(b *box, list []manifest.Segment, o storage.PutOptions) (storage.Info, manifest.Static, error) {
	st, err := manifest.Sum(list)
	if err != nil {
		return storage.Info{}, st, err
	}
	if o.MD5 != "" && o.MD5 != st.ETag {
		return storage.Info{}, st, refuse(422)
	}
	data, err := json.Marshal(list)
	if err != nil {
		return storage.Info{}, st, fmt.Errorf("writing a manifest: %w", err)
	}
	if list == nil {
		data = []byte("[]")
	}
	sum := md5.Sum(data)
	o.MD5, o.Size = "", int64(len(data))
	delete(o.Meta.System, manifest.KeyDynamic) // it can be one of them only
	manifest.Set(&o.Meta, manifest.KeyStatic, st)
	o.Meta.System[systemManifestETag] = hex.EncodeToString(sum[:])
	body, err := c.within(b, bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return storage.Info{}, st, err
	}
	info, err := c.store(b, c.object, body, o)
	return info, st, err
}

var sentKeys = []string{"path", "etag", "size_bytes", "range", "data"}

// readManifest checks the form of a manifest. The texts are Swift's.
func readManifest(data []byte, self string) ([]sent, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return nil, refusef(400, "Manifest must be a list.\n")
		}
		return nil, refusef(400, "Manifest must be valid JSON.\n")
	}
	if len(raw) > manifest.SegmentsMax {
		return nil, refusef(413, "Number of object-backed segments must be <= %d", manifest.SegmentsMax)
	}
	var out []sent
	var why []string
	backed := false
	for i, r := range raw {
		e, bad := readSent(r, self)
		for _, b := range bad {
			why = append(why, fmt.Sprintf("Index %d: %s", i, b))
		}
		backed = backed || e.data == nil
		out = append(out, e)
	}
	if !backed && len(raw) > 0 {
		why = append(why, "Inline data segments require at least one object-backed segment.")
	}
	if len(why) > 0 {
		return nil, plainf(400, "%s\n", strings.Join(why, "\n"))
	}
	return out, nil
}

// readSent checks one element.
func readSent(raw json.RawMessage, self string) (e sent, bad []string) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil || m == nil {
		return e, []string{"not a JSON object"}
	}
	text := func(key string) (s string, ok bool) {
		v, there := m[key]
		if !there || string(v) == "null" {
			return "", true
		}
		return s, json.Unmarshal(v, &s) == nil
	}
	known := sentKeys
	inline := false
	if _, ok := m["data"]; ok {
		known, inline = []string{"data"}, true
		e.data = []byte{}
	}
	var odd []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(known, k) {
			odd = append(odd, strconv.Quote(k))
		}
	}
	if len(odd) > 0 {
		bad = append(bad, "extraneous keys "+strings.Join(odd, ", "))
	}
	if inline {
		s, ok := text("data")
		data, err := base64.StdEncoding.DecodeString(s)
		switch {
		case !ok || err != nil:
			bad = append(bad, "data must be valid base64")
		case len(data) == 0:
			bad = append(bad, "too small; each segment must be at least 1 byte.")
		default:
			e.data = data
		}
		return e, bad
	}
	return readBacked(&e, m, text, self, bad)
}

func readBacked(e *sent, m map[string]json.RawMessage, text func(string) (string, bool), self string, bad []string) (sent, []string) {
	p, ok := text("path")
	switch _, there := m["path"]; {
	case !there:
		return *e, append(bad, `expected keys to include one of "path" or "data"`)
	case !ok:
		return *e, append(bad, `"path" must be a string`)
	}
	e.path = "/" + strings.TrimLeft(p, "/")
	if _, _, ok := pair(e.path, true); !ok || strings.Count(strings.TrimPrefix(p, "/"), "/") == 0 {
		bad = append(bad, "path does not refer to an object. Path must be of the form /container/object.")
	} else if e.path == self {
		bad = append(bad, "manifest must not include itself as a segment")
	}
	if s, ok := text("etag"); ok {
		e.etag = strings.Trim(s, `"`)
	} else {
		bad = append(bad, `"etag" must be a string`)
	}
	if v, ok := m["size_bytes"]; ok && string(v) != "null" {
		n, err := strconv.ParseInt(strings.Trim(string(v), `"`), 10, 64)
		if err != nil {
			bad = append(bad, "invalid size_bytes")
		} else if n < 0 {
			bad = append(bad, "too small; each segment must be at least 1 byte.")
		}
		e.size = &n
	}
	r, ok := text("range")
	switch {
	case !ok || r != "" && strings.Contains(r, ","):
		bad = append(bad, "multiple ranges (only one allowed)")
	case r != "":
		if _, _, ok := readSpan(r); !ok {
			bad = append(bad, "invalid range")
		}
	}
	e.rang = r
	return *e, bad
}

// checkSegments looks at every segment; bad are those that are not what they shall be.
func (c *call) checkSegments(b *box, list []sent) (out []manifest.Segment, bad []trouble) {
	out = make([]manifest.Segment, len(list))
	whys := make([][]string, len(list))
	slots := make(chan struct{}, checksAtOnce)
	var wait sync.WaitGroup
	for i := range list {
		if list[i].data != nil {
			out[i] = manifest.Segment{Data: list[i].data}
			continue
		}
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			out[i], whys[i] = c.checkSegment(b, &list[i])
		})
	}
	wait.Wait()
	for i, all := range whys {
		for _, w := range all {
			bad = append(bad, trouble{quoted(list[i].path), w})
		}
	}
	return out, bad
}

func (c *call) checkSegment(b *box, e *sent) (out manifest.Segment, why []string) {
	s := manifest.Segment{Name: e.path}
	container, key, _ := strings.Cut(strings.TrimPrefix(e.path, "/"), "/")
	sb, err := c.box(b.shown, container)
	if err == nil {
		err = c.permit(sb, iam.GetObject, key)
	}
	var seen *seen
	if err == nil {
		seen, err = c.see(sb, key, look{}, true)
	}
	if err != nil {
		return s, []string{line(faultOf(err).status)}
	}
	defer func() { _ = seen.Close() }() // it was only looked at
	i := seen.info
	s.Bytes, s.Hash, s.ContentType = i.Size, i.ETag, i.Meta.ContentType
	s.LastModified = stamp(i.Modified)
	s.SubSLO = manifest.StaticOf(&i.Meta) != nil
	if e.size != nil && *e.size != s.Bytes {
		why = append(why, "Size Mismatch")
	}
	if e.etag != "" && e.etag != s.Hash {
		why = append(why, "Etag Mismatch")
	}
	if e.rang != "" {
		first, last, _ := readSpan(e.rang)
		off, n, err := storage.Range(first, last, s.Bytes)
		if err != nil || last == minusZero {
			return s, append(why, "Unsatisfiable Range")
		}
		if n != s.Bytes {
			s.Range = fmt.Sprintf("%d-%d", off, off+n-1)
		}
	}
	return s, why
}

// rawManifest turns what is sent into the form in which it was put.
func (c *call) rawManifest(s *seen) error {
	list, err := manifest.Parse(storage.Reader(s.Object, 0, s.info.Size))
	if err != nil {
		return err
	}
	type raw struct {
		Path  string `json:"path,omitempty"`
		ETag  string `json:"etag,omitempty"`
		Size  int64  `json:"size_bytes,omitempty"`
		Range string `json:"range,omitempty"`
		Data  []byte `json:"data,omitempty"`
	}
	out := make([]raw, 0, len(list))
	for _, e := range list {
		if e.Data != nil {
			out = append(out, raw{Data: e.Data})
			continue
		}
		out = append(out, raw{Path: e.Name, ETag: e.Hash, Size: e.Bytes, Range: e.Range})
	}
	b, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("writing a manifest: %w", err)
	}
	sum := md5.Sum(b)
	_ = s.Close() // it was only read
	s.info.Size, s.info.ETag = int64(len(b)), hex.EncodeToString(sum[:])
	s.look.manifest = false // it has its own type
	s.raw = true
	s.Opened.Object = memory{info: s.info, Reader: bytes.NewReader(b)}
	return nil
}

// memory is an object that was made up.
type memory struct {
	storage.Object
	*bytes.Reader
	info storage.Info
}

func (m memory) Info() storage.Info                             { return m.info }
func (m memory) Close() error                                   { return nil }
func (m memory) ReadAt(p []byte, off int64) (int, error)        { return m.Reader.ReadAt(p, off) }
func (m memory) Extents(int64, int64) ([]storage.Extent, error) { return nil, storage.ErrInvalid }
