package seal

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/mem"
)

func where(s storage.Settings) string { return s.Labels["where"] }

// key makes one whose bytes are all alike.
func key(c byte) []byte { return bytes.Repeat([]byte{c}, KeyBytes) }

func keys(t testing.TB) *Keys {
	t.Helper()
	text := "keys:\n"
	for _, k := range []string{"none:", "eu:eu", "de:eu/de"} {
		id, j, _ := strings.Cut(k, ":")
		text += fmt.Sprintf("- {id: %s, key: %s, jurisdictions: [%q]}\n", id, base64.StdEncoding.EncodeToString(key(id[0])), j)
	}
	k, err := ParseKeys([]byte(text), where)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func bucket(t testing.TB) storage.Bucket {
	t.Helper()
	m := mem.New(0, time.Now)
	t.Cleanup(func() { _ = m.Close() })
	b, err := m.CreateBucket(t.Context(), "b", storage.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func text(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b)
	return b
}

// put seals a text with the key "none".
func put(t testing.TB, b *Bucket, name string, body []byte, o storage.PutOptions) storage.Info {
	t.Helper()
	if err := Lock(&o.Meta, Server, "none", key('n')); err != nil {
		t.Fatal(err)
	}
	info, err := b.Put(t.Context(), name, bytes.NewReader(body), o)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func read(t testing.TB, b storage.Bucket, name string) []byte {
	t.Helper()
	o, err := b.Open(t.Context(), name, storage.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	out, err := io.ReadAll(storage.Reader(o, 0, o.Info().Size))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestObject(t *testing.T) {
	raw := bucket(t)
	b := Over(raw, Opener{Keys: keys(t)})
	for _, n := range []int{0, 1, 15, 16, 17, 1000, 128 << 10, 128<<10 + 1, 700_001} {
		want := text(n)
		sum := md5.Sum(want)
		info := put(t, b, "k", want, storage.PutOptions{Size: int64(n), MD5: hex.EncodeToString(sum[:])})
		if info.Size != int64(n) || info.ETag != hex.EncodeToString(sum[:]) {
			t.Errorf("%d bytes: size %d, ETag %s", n, info.Size, info.ETag)
		}
		if got := read(t, b, "k"); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: others came back", n)
		}
		if got := read(t, raw, "k"); n > 15 && (bytes.Equal(got, want) || bytes.Contains(got, want[:16])) {
			t.Errorf("%d bytes lie there in plain text", n)
		}
	}
	_, err := b.Put(t.Context(), "bad", strings.NewReader("x"), func() storage.PutOptions {
		o := storage.PutOptions{MD5: strings.Repeat("0", 32)}
		_ = Lock(&o.Meta, Server, "none", key('n'))
		return o
	}())
	if !errors.Is(err, storage.ErrDigest) {
		t.Errorf("another MD5: %v", err)
	}
}

// TestETags: the MD5 of the text is the ETag where S3 promises it, and nowhere else.
func TestETags(t *testing.T) {
	ctx := t.Context()
	raw := bucket(t)
	b := Over(raw, Opener{Keys: keys(t), Customer: key('c')})
	sum := md5.Sum(text(1000))
	want := hex.EncodeToString(sum[:])
	for kind, has := range map[Kind]bool{Server: true, Named: false, Customer: false} {
		t.Run(string(kind), func(t *testing.T) {
			b, id, with := b, "", key('c')
			if kind != Customer {
				b, id, with = Over(raw, Opener{Keys: keys(t)}), "none", key('n')
			}
			var m storage.Meta
			if err := Lock(&m, kind, id, with); err != nil {
				t.Fatal(err)
			}
			info, err := b.Put(ctx, "k", bytes.NewReader(text(1000)), storage.PutOptions{Meta: m})
			if err != nil || (info.ETag == want) != has {
				t.Errorf("put: ETag %s, %v", info.ETag, err)
			}
			u, err := b.Begin(ctx, "parts", m)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Use(ctx, &u); err != nil {
				t.Fatal(err)
			}
			p, err := b.PutPart(ctx, "parts", u.ID, 1, bytes.NewReader(text(1000)), storage.PutOptions{})
			if err != nil || (p.ETag == want) != has {
				t.Errorf("part: ETag %s, %v", p.ETag, err)
			}
		})
	}
	if err := raw.Configure(ctx, func(s *storage.Settings) error { s.PlainETag = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if info := put(t, Over(raw, Opener{Keys: keys(t)}), "k", text(1000), storage.PutOptions{}); info.ETag == want {
		t.Error("a bucket that wants no MD5 has one")
	}
}

// TestUnlike proves that the same text is not sealed alike twice.
func TestUnlike(t *testing.T) {
	raw := bucket(t)
	b := Over(raw, Opener{Keys: keys(t)})
	put(t, b, "one", text(1000), storage.PutOptions{})
	put(t, b, "two", text(1000), storage.PutOptions{})
	if bytes.Equal(read(t, raw, "one"), read(t, raw, "two")) {
		t.Error("two objects of the same text are sealed alike")
	}
}

func TestRanges(t *testing.T) {
	b := Over(bucket(t), Opener{Keys: keys(t)})
	want := text(300_000)
	put(t, b, "k", want, storage.PutOptions{})
	o, err := b.Open(t.Context(), "k", storage.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	check(t, o, want)
}

// check compares runs of an object at random with what they must be.
func check(t *testing.T, o storage.Object, want []byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		off := r.IntN(len(want))
		n := 1 + r.IntN(min(len(want)-off, 5000))
		p := make([]byte, n)
		if m, err := o.ReadAt(p, int64(off)); m != n || err != nil && err != io.EOF || !bytes.Equal(p, want[off:off+n]) {
			t.Fatalf("%d bytes at %d: %d, %v", n, off, m, err)
		}
		e, err := o.Extents(int64(off), int64(n))
		if err != nil || len(e) == 0 || e[0].File != nil || !bytes.Equal(e[0].Bytes, want[off:off+len(e[0].Bytes)]) {
			t.Fatalf("extents of %d bytes at %d: %v", n, off, err)
		}
	}
}

func TestParts(t *testing.T) {
	ctx := t.Context()
	raw := bucket(t)
	b := Over(raw, Opener{Customer: key('c')})
	var m storage.Meta
	if err := Lock(&m, Customer, "", key('c')); err != nil {
		t.Fatal(err)
	}
	u, err := b.Begin(ctx, "k", m)
	if err != nil {
		t.Fatal(err)
	}
	if err := Over(raw, Opener{Customer: key('d')}).Use(ctx, &u); !errors.Is(err, ErrKey) {
		t.Errorf("another key: %v", err)
	}
	if err := b.Use(ctx, &u); err != nil {
		t.Fatal(err)
	}
	var want []byte
	var refs []storage.PartRef
	for i, n := range []int{storage.PartBytesMin, storage.PartBytesMin + 7, 99} {
		for _, body := range [][]byte{[]byte("is replaced"), text(n)} {
			if _, err := b.PutPart(ctx, "k", u.ID, i+1, bytes.NewReader(body), storage.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		want = append(want, text(n)...)
		refs = append(refs, storage.PartRef{Number: i + 1})
	}
	// who completes need not have the key
	info, err := Over(raw, Opener{}).Complete(ctx, "k", u.ID, refs, storage.CompleteOptions{})
	if err != nil || info.Size != int64(len(want)) {
		t.Fatalf("got %+v, %v", info, err)
	}
	o, err := b.Open(ctx, "k", storage.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	check(t, o, want)
	if got := read(t, b, "k"); !bytes.Equal(got, want) {
		t.Error("other bytes came back")
	}
}

// TestPartsUnsealed refuses parts that came past the sealing.
func TestPartsUnsealed(t *testing.T) {
	ctx := t.Context()
	raw := bucket(t)
	var m storage.Meta
	if err := Lock(&m, Server, "none", key('n')); err != nil {
		t.Fatal(err)
	}
	u, err := raw.Begin(ctx, "k", m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.PutPart(ctx, "k", u.ID, 1, strings.NewReader("x"), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = Over(raw, Opener{}).Complete(ctx, "k", u.ID, []storage.PartRef{{Number: 1}}, storage.CompleteOptions{})
	if !errors.Is(err, storage.ErrPart) {
		t.Errorf("got %v", err)
	}
}

// TestCopy copies as a door does that takes metadata along, and shows what a client
// sealed to nobody else.
func TestCopy(t *testing.T) {
	ctx := t.Context()
	b := Over(bucket(t), Opener{Keys: keys(t)})
	put(t, b, "k", text(1000), storage.PutOptions{})
	o, err := b.Open(ctx, "k", storage.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if _, err := storage.Copy(ctx, b, "copy", o, 10, 500, storage.PutOptions{Meta: o.Info().Meta}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, b, "copy"); !bytes.Equal(got, text(1000)[10:510]) {
		t.Error("the copy has other bytes")
	}
	copied, err := b.Stat(ctx, "copy", storage.ReadOptions{})
	if err != nil || copied.Meta.System[keyBox] == o.Info().Meta.System[keyBox] {
		t.Errorf("the copy shares its source's key: %v", err)
	}
	mine := storage.PutOptions{}
	if err := Lock(&mine.Meta, Customer, "", key('c')); err != nil {
		t.Fatal(err)
	}
	if _, err := Over(b, Opener{Customer: key('c')}).Put(ctx, "mine", strings.NewReader("x"), mine); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(ctx, "mine", storage.ReadOptions{}); !errors.Is(err, ErrNeeded) || !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("what a client sealed: %v", err)
	}
}

func TestKeys(t *testing.T) {
	k := keys(t)
	for j, want := range map[string]string{"": "none", "eu": "eu", "eu/de": "de", "eu/fr": "eu", "us": ""} {
		id, err := k.Current(storage.Settings{Labels: map[string]string{"where": j}})
		if id != want || (err != nil) != (want == "") {
			t.Errorf("%q: %s, %v", j, id, err)
		}
	}
	good := base64.StdEncoding.EncodeToString(key('x'))
	for name, text := range map[string]string{
		"unknown field": "keys: [{id: a, key: " + good + ", algorithm: x}]",
		"no id":         "keys: [{key: " + good + "}]",
		"short key":     "keys: [{id: a, key: eA==}]",
		"twice":         "keys: [{id: a, key: " + good + "}, {id: a, key: " + good + "}]",
		"same place":    "keys: [{id: a, key: " + good + ", jurisdictions: [eu]}, {id: b, key: " + good + ", jurisdictions: [eu]}]",
	} {
		if _, err := ParseKeys([]byte(text), where); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestOpener(t *testing.T) {
	ctx := context.Background()
	ring := keys(t)
	sealed := func(kind Kind, id string, k []byte) *storage.Meta {
		m := &storage.Meta{}
		if err := Lock(m, kind, id, k); err != nil {
			t.Fatal(err)
		}
		return m
	}
	moved := sealed(Server, "none", key('n'))
	moved.System[keyBox] = strings.Replace(moved.System[keyBox], `"none"`, `"eu"`, 1)
	for name, c := range map[string]struct {
		m    *storage.Meta
		o    Opener
		want error
	}{
		"plain":                  {&storage.Meta{}, Opener{}, nil},
		"plain, with a key":      {&storage.Meta{}, Opener{Customer: key('c')}, ErrNeedless},
		"customer":               {sealed(Customer, "", key('c')), Opener{Customer: key('c')}, nil},
		"customer, other key":    {sealed(Customer, "", key('c')), Opener{Customer: key('d')}, ErrKey},
		"customer, no key":       {sealed(Customer, "", key('c')), Opener{Keys: ring}, ErrNeeded},
		"customer, short key":    {sealed(Customer, "", key('c')), Opener{Customer: []byte("c")}, ErrKey},
		"server":                 {sealed(Server, "none", key('n')), Opener{Keys: ring}, nil},
		"server, with a key":     {sealed(Server, "none", key('n')), Opener{Keys: ring, Customer: key('n')}, ErrNeedless},
		"server, no keys":        {sealed(Server, "none", key('n')), Opener{}, ErrNoKey},
		"server, key gone":       {sealed(Named, "lost", key('l')), Opener{Keys: ring}, ErrNoKey},
		"under another's name":   {moved, Opener{Keys: ring}, ErrKey},
		"that cannot be read":    {&storage.Meta{System: map[string]string{keyBox: "{"}}, Opener{Keys: ring}, storage.ErrCorrupt},
		"with a nonce too short": {&storage.Meta{System: map[string]string{keyBox: `{"kind":"server","id":"none","nonce":"AA=="}`}}, Opener{Keys: ring}, storage.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.o.Check(ctx, c.m); !errors.Is(err, c.want) || err != nil && c.want == nil {
				t.Errorf("got %v", err)
			}
		})
	}
	m := sealed(Named, "eu", key('e'))
	if kind, id := Sealed(m); kind != Named || id != "eu" {
		t.Errorf("sealed as %s, %s", kind, id)
	}
	Clear(m)
	if kind, _ := Sealed(m); kind != "" {
		t.Errorf("cleared, and still sealed as %s", kind)
	}
}

func FuzzSpans(f *testing.F) {
	f.Add("1:5:0011223344556677,2:3:8899aabbccddeeff,", int64(8))
	f.Fuzz(func(t *testing.T, s string, size int64) {
		info := &storage.Info{Size: size, Meta: storage.Meta{System: map[string]string{keyParts: s}}}
		spans, err := spansOf(info, key('x'))
		if err == nil && s != "" && spans[len(spans)-1].end != size {
			t.Errorf("the last of %d spans ends at %d of %d", len(spans), spans[len(spans)-1].end, size)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	bk := Over(bucket(b), Opener{Keys: keys(b)})
	body := text(10 << 20)
	put(b, bk, "k", body, storage.PutOptions{Size: int64(len(body))})
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		o, err := bk.Open(b.Context(), "k", storage.ReadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := storage.Reader(o, 0, int64(len(body))).WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
		_ = o.Close()
	}
}

func BenchmarkSeal(b *testing.B) {
	bk := Over(bucket(b), Opener{Keys: keys(b)})
	body := text(10 << 20)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		put(b, bk, "k", body, storage.PutOptions{Size: int64(len(body))})
	}
}
