package manifest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/mem"
)

// world is a Source of one account, whose containers are buckets. It counts what is open.
type world struct {
	t     *testing.T
	store storage.Store
	open  int
	most  int
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: mem.New(0, time.Now)}
	t.Cleanup(func() { _ = w.store.Close() })
	if _, err := w.store.CreateBucket(t.Context(), "c", storage.Settings{}); err != nil {
		t.Fatal(err)
	}
	return w
}

// counted says when it is closed.
type counted struct {
	storage.Object
	w      *world
	closed bool
}

func (c *counted) Close() error {
	if !c.closed {
		c.closed = true
		c.w.open--
	}
	return c.Object.Close()
}

func (w *world) Open(ctx context.Context, _, container, key string) (storage.Object, error) {
	b, err := w.store.Bucket(ctx, container)
	if err != nil {
		return nil, err
	}
	o, err := b.Open(ctx, key, storage.ReadOptions{})
	if err != nil {
		return nil, err
	}
	w.open++
	w.most = max(w.most, w.open)
	return &counted{Object: o, w: w}, nil
}

func (w *world) List(ctx context.Context, _, container string, o storage.ListOptions) (storage.Listing, error) {
	b, err := w.store.Bucket(ctx, container)
	if err != nil {
		return storage.Listing{}, err
	}
	o.Limit = 3 // several pages
	return b.List(ctx, o)
}

func (w *world) put(key, body string, m storage.Meta) {
	w.t.Helper()
	b, err := w.store.Bucket(w.t.Context(), "c")
	if err == nil {
		_, err = b.Put(w.t.Context(), key, strings.NewReader(body), storage.PutOptions{Meta: m})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func sum(s string) string {
	h := md5.Sum([]byte(s))
	return hex.EncodeToString(h[:])
}

// static puts a manifest.
func (w *world) static(key string, list []Segment) {
	w.t.Helper()
	s, err := Sum(list)
	if err != nil {
		w.t.Fatal(err)
	}
	var m storage.Meta
	Set(&m, KeyStatic, s)
	data, err := json.Marshal(list)
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(key, string(data), m)
}

func (w *world) read(key string) (*Opened, error) {
	o, err := w.Open(w.t.Context(), "a", "c", key)
	if err != nil {
		return nil, err
	}
	return Open(w.t.Context(), w, "a", "c", key, o)
}

// whole fills a world with segments and everything made of them; want is what each reads.
func whole(t *testing.T) (w *world, want map[string]string) {
	w = newWorld(t)
	var list []Segment
	text := ""
	for i := range 8 {
		s := strings.Repeat(string(rune('a'+i)), 1000*(i%3)) // some are empty
		w.put(fmt.Sprintf("seg/%d", i), s, storage.Meta{})
		list = append(list, Segment{Name: fmt.Sprintf("/c/seg/%d", i), Bytes: int64(len(s)), Hash: sum(s)})
		text += s
	}
	w.static("slo", list)
	st, err := Sum(list)
	if err != nil {
		t.Fatal(err)
	}
	w.static("nested", []Segment{
		{Name: "/c/slo", Bytes: st.Size, Hash: st.ETag, Range: "500-3499", SubSLO: true}, {Data: []byte("between")}, {Name: "/c/seg/1", Bytes: 1000, Hash: list[1].Hash},
	})
	w.put("dlo", "", storage.Meta{System: map[string]string{KeyDynamic: "c/seg/"}})
	link := func(to string) (m storage.Meta) {
		Set(&m, KeyLink, Link{Account: "a", Container: "c", Object: to})
		return m
	}
	w.put("link", "", link("slo"))
	w.put("link2", "", link("link"))
	w.put("link3", "", link("link2"))
	w.put("self", "", link("self"))
	return w, map[string]string{"slo": text, "dlo": text, "link": text, "link2": text, "nested": text[500:3500] + "between" + text[:1000], "seg/1": text[:1000]}
}

func TestOpen(t *testing.T) {
	w, want := whole(t)
	for key, text := range want {
		o, err := w.read(key)
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		if o.Info().Size != int64(len(text)) {
			t.Errorf("%s has %d bytes, want %d", key, o.Info().Size, len(text))
		}
		var b bytes.Buffer
		if _, err := storage.Reader(o, 0, int64(len(text))).WriteTo(&b); err != nil || b.String() != text {
			t.Errorf("%s reads %d bytes that are others, %v", key, b.Len(), err)
		}
		for _, at := range [][2]int{{0, 1}, {999, 2}, {len(text) - 1, 1}, {len(text) / 3, len(text) / 2}} {
			at[1] = min(at[1], len(text)-at[0])
			p := make([]byte, at[1])
			if n, err := o.ReadAt(p, int64(at[0])); n != len(p) || err != nil && err != io.EOF || string(p) != text[at[0]:at[0]+at[1]] {
				t.Errorf("%s at %v: %d, %v", key, at, n, err)
			}
			var got []byte
			for off, n := int64(at[0]), int64(at[1]); n > 0; {
				e, err := o.Extents(off, n)
				if err != nil || len(e) == 0 {
					t.Fatalf("%s at %v: %d extents, %v", key, at, len(e), err)
				}
				for _, x := range e {
					got = append(got, x.Bytes...)
					off, n = off+x.Length, n-x.Length
				}
			}
			if string(got) != text[at[0]:at[0]+at[1]] {
				t.Errorf("%s at %v: extents are others", key, at)
			}
		}
		if n, err := o.ReadAt(make([]byte, 1), int64(len(text))); n != 0 || err != io.EOF {
			t.Errorf("%s at its end: %d, %v", key, n, err)
		}
		_ = o.Close()
	}
	if w.open != 0 {
		t.Errorf("%d objects were left open", w.open)
	}
	if w.most > 3 {
		t.Errorf("%d objects were open at once", w.most)
	}
}

func TestRefused(t *testing.T) {
	w, _ := whole(t)
	for key, want := range map[string]error{"link3": ErrLoop, "self": ErrLoop, "none": storage.ErrNoObject} {
		if _, err := w.read(key); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", key, err, want)
		}
	}
	w.put("seg/2", "changed", storage.Meta{})
	o, err := w.read("slo")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Large.Probe(0); err != nil {
		t.Errorf("a segment that did not change: %v", err)
	}
	if _, err := io.ReadAll(storage.Reader(o, 0, o.Info().Size)); !errors.Is(err, ErrSegment) {
		t.Errorf("a segment that changed: %v", err)
	}
	_ = o.Close()
	// Manifests that name each other end somewhere.
	list := []Segment{{Name: "/c/ring", Bytes: 1}}
	w.static("ring", list)
	r, err := w.read("ring")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrSegment) {
		t.Errorf("a manifest of itself: %v", err)
	}
	_ = r.Close()
	if w.open != 0 {
		t.Errorf("%d objects were left open", w.open)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`[{"name":"/c/o","bytes":3,"hash":"x","range":"0-1"},{"data":"YQ=="}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := Parse(bytes.NewReader(b))
		if err != nil {
			return
		}
		for i := range list {
			off, n, err := list[i].Span()
			if err == nil && list[i].Data == nil && list[i].Bytes >= 0 && (off < 0 || n < 0 || off+n > list[i].Bytes) {
				t.Errorf("%+v spans %d, %d", list[i], off, n)
			}
		}
	})
}
