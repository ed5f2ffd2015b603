package sigv4

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var signer = Signer{AccessKey: "key/with/slash", Secret: "secret", Region: "here"}

var noon = time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC)

func signed(t testing.TB, method, url, payload string, headers ...string) Request {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	if err := signer.Sign(r, payload, noon); err != nil {
		t.Fatal(err)
	}
	q, err := ParseQuery(r.URL.RawQuery)
	if err != nil {
		t.Fatal(err)
	}
	return Request{Request: r, Query: q}
}

func verify(r Request, now time.Time) error {
	a, err := Parse(r)
	if err != nil {
		return err
	}
	return a.Verify(r, signer.Secret, now, &Keys{})
}

func TestSign(t *testing.T) {
	for _, url := range []string{
		"http://h/", "http://h", "http://h/b/k%20%2B+%C3%A9//x", "http://h/b?b=2&a=1&a=0&c", "http://h/b?prefix=a%2Fb%20c&delimiter=%2F&a-b=1&a=2",
	} {
		r := signed(t, "GET", url, Empty, "X-Amz-Meta-A", "  two   spaces ", "X-Amz-Meta-B", "1", "X-Amz-Meta-B", "2", "Content-Type", "x/y")
		if err := verify(r, noon.Add(time.Minute)); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	get := func(change func(*Request)) Request {
		r := signed(t, "GET", "http://h/b/k?x=1", Empty, "X-Amz-Meta-A", "a")
		change(&r)
		return r
	}
	header := func(k, v string) func(*Request) { return func(r *Request) { r.Header.Set(k, v) } }
	was := signed(t, "GET", "http://h/", Empty).Header.Get("Authorization")
	for name, c := range map[string]struct {
		r    Request
		now  time.Time
		want error
	}{
		"as signed":         {get(func(*Request) {}), noon.Add(SkewMax), nil},
		"late":              {get(func(*Request) {}), noon.Add(SkewMax + time.Second), ErrSkew},
		"early":             {get(func(*Request) {}), noon.Add(-SkewMax - time.Second), ErrSkew},
		"another method":    {get(func(r *Request) { r.Method = "PUT" }), noon, ErrSignature},
		"another host":      {get(func(r *Request) { r.Host = "x" }), noon, ErrSignature},
		"another query":     {get(func(r *Request) { r.Query[0].Value = "2" }), noon, ErrSignature},
		"more query":        {get(func(r *Request) { r.Query = append(r.Query, Param{"acl", ""}) }), noon, ErrSignature},
		"another header":    {get(header("X-Amz-Meta-A", "b")), noon, ErrSignature},
		"another payload":   {get(header("X-Amz-Content-Sha256", Unsigned)), noon, ErrSignature},
		"an unsigned one":   {get(header("X-Amz-Copy-Source", "/b/k")), noon, ErrUnsigned},
		"an unsigned date":  {get(header("X-Amz-Date", "20260203T120001Z")), noon, ErrSignature},
		"another day":       {get(header("X-Amz-Date", "20260204T120000Z")), noon, ErrMalformed},
		"no date":           {get(func(r *Request) { r.Header.Del("X-Amz-Date") }), noon, ErrDate},
		"an empty date":     {get(func(r *Request) { r.Header.Set("X-Amz-Date", ""); r.Header.Set("Date", noon.Format(http.TimeFormat)) }), noon, ErrDate},
		"a wrong date":      {get(header("X-Amz-Date", "Bad Date")), noon, ErrDate},
		"nothing":           {get(header("Authorization", "")), noon, ErrAbsent},
		"another kind":      {get(header("Authorization", "Bearer x")), noon, ErrUnsupported},
		"no fields":         {get(header("Authorization", algorithm)), noon, ErrMalformed},
		"another service":   {get(header("Authorization", strings.Replace(was, "/s3/", "/ec2/", 1))), noon, ErrMalformed},
		"no day":            {get(header("Authorization", strings.Replace(was, "/20260203/", "/today/", 1))), noon, ErrMalformed},
		"two without parts": {get(header("Authorization", "AWS HAHAHA")), noon, ErrUnsupported},
		"host is not signed": {get(func(r *Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "SignedHeaders=host;", "SignedHeaders=", 1))
		}), noon, ErrUnsigned},
	} {
		if err := verify(c.r, c.now); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestPresign(t *testing.T) {
	make := func(h ...string) Request {
		r, err := http.NewRequest("PUT", "http://h/b/k", nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(h); i += 2 {
			r.Header.Set(h[i], h[i+1])
		}
		if err := signer.Presign(r, time.Hour, noon); err != nil {
			t.Fatal(err)
		}
		q, err := ParseQuery(r.URL.RawQuery)
		if err != nil {
			t.Fatal(err)
		}
		return Request{Request: r, Query: q}
	}
	change := func(k, v string) Request {
		r := make()
		for i := range r.Query {
			if r.Query[i].Key == k {
				r.Query[i].Value = v
			}
		}
		return r
	}
	added := make()
	added.Header.Set("X-Amz-Copy-Source", "/b/secret")
	for name, c := range map[string]struct {
		r    Request
		now  time.Time
		want error
	}{
		"in time":            {make(), noon.Add(time.Hour - time.Second), nil},
		"with a header":      {make("X-Amz-Copy-Source", "/b/k"), noon, nil},
		"too late":           {make(), noon.Add(time.Hour), ErrExpired},
		"too early":          {make(), noon.Add(-time.Hour), ErrExpired},
		"an added header":    {added, noon, ErrUnsigned},
		"longer":             {change("X-Amz-Expires", "7200"), noon, ErrSignature},
		"for ever":           {change("X-Amz-Expires", "604801"), noon, ErrExpired},
		"for no time":        {change("X-Amz-Expires", "0"), noon, ErrExpired},
		"negative":           {change("X-Amz-Expires", "-7"), noon, ErrExpired},
		"another algorithm":  {change("X-Amz-Algorithm", "NONE"), noon, ErrQuery},
		"no signature":       {change("X-Amz-Signature", ""), noon, ErrQuery},
		"another signature":  {change("X-Amz-Signature", strings.Repeat("0", 64)), noon, ErrSignature},
		"a wrong date":       {change("X-Amz-Date", "today"), noon, ErrQuery},
		"a wrong credential": {change("X-Amz-Credential", "x"), noon, ErrQuery},
	} {
		if err := verify(c.r, c.now); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// streamed is an aws-chunked body with the Auth that proves it.
func streamed(t testing.TB, payload string, data []byte, chunk int, trailers Query) (*Auth, []byte) {
	t.Helper()
	r := signed(t, "PUT", "http://h/b/k", payload)
	a, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Verify(r, signer.Secret, noon, &Keys{}); err != nil {
		t.Fatal(err)
	}
	return a, signer.Stream(r.Request, payload, noon, data, chunk, trailers)
}

func readChunks(a *Auth, payload string, body []byte, length int, names string) ([]byte, string, error) {
	c, err := Chunked(a, payload, iotest.OneByteReader(bytes.NewReader(body)), int64(length), names)
	if err != nil {
		return nil, "", err
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	return b, c.Trailer("X-Amz-Checksum-Crc32"), err
}

func TestChunked(t *testing.T) {
	trailers := Query{{"x-amz-checksum-crc32", "AAAAAA=="}}
	for _, payload := range []string{Stream, StreamTrailer, UnsignedTrailer} {
		for _, n := range []int{0, 1, 99, 100, 101, 250, 300} {
			data := bytes.Repeat([]byte("d"), n)
			tr := trailers
			if payload == Stream {
				tr = nil
			}
			a, body := streamed(t, payload, data, 100, tr)
			got, sum, err := readChunks(a, payload, body, n, "x-amz-checksum-crc32")
			if err != nil || !bytes.Equal(got, data) || payload != Stream && sum != "AAAAAA==" {
				t.Errorf("%s of %d bytes: %d bytes, trailer %q, %v", payload, n, len(got), sum, err)
			}
			// Wherever it is cut, and whatever byte is another, it is no whole body.
			for cut := range body {
				if _, _, err := readChunks(a, payload, body[:cut], n, "x-amz-checksum-crc32"); !errors.Is(err, ErrChunk) && !errors.Is(err, ErrSignature) {
					t.Fatalf("%s of %d bytes, cut at %d of %d: %v", payload, n, cut, len(body), err)
				}
			}
			if payload == UnsignedTrailer {
				continue
			}
			for i := range body {
				bad := bytes.Clone(body)
				bad[i] ^= 1
				if got, _, err := readChunks(a, payload, bad, n, "x-amz-checksum-crc32"); err == nil && !sameButCase(body, bad) {
					t.Fatalf("%s of %d bytes, byte %d %q: no error, %d bytes", payload, n, i, body[i], len(got))
				}
			}
		}
	}
}

// sameButCase allows for what may be written in two ways, or is no part of the data: the
// carriage return before a line's end is optional.
func sameButCase(a, b []byte) bool {
	norm := func(s []byte) string {
		return strings.ToLower(strings.ReplaceAll(string(s), "\r\n", "\n"))
	}
	return norm(a) == norm(b)
}

func TestChunkedRefuses(t *testing.T) {
	unsigned := func(body string) []byte { return []byte(body) }
	for name, c := range map[string]struct {
		body   []byte
		length int
	}{
		"longer than said":      {unsigned("3\r\nabc\r\n0\r\n\r\n"), 2},
		"shorter than said":     {unsigned("3\r\nabc\r\n0\r\n\r\n"), 4},
		"no size":               {unsigned("\r\nabc\r\n0\r\n\r\n"), 3},
		"a negative size":       {unsigned("-3\r\nabc\r\n0\r\n\r\n"), 3},
		"a sign":                {unsigned("+3\r\nabc\r\n0\r\n\r\n"), 3},
		"a huge size":           {unsigned("ffffffffffffffff\r\nabc\r\n0\r\n\r\n"), 3},
		"a long size":           {unsigned(strings.Repeat("0", 17) + "\r\n\r\n"), 0},
		"a long line":           {unsigned("3;" + strings.Repeat("x", chunkLineMax) + "\r\nabc\r\n0\r\n\r\n"), 3},
		"data without its end":  {unsigned("3\r\nabcd\r\n0\r\n\r\n"), 4},
		"an unknown trailer":    {unsigned("0\r\nx-object-manifest:x\r\n\r\n"), 0},
		"the same one twice":    {unsigned("0\r\nx-amz-checksum-crc32:a\r\nx-amz-checksum-crc32:a\r\n\r\n"), 0},
		"a line without colon":  {unsigned("0\r\nx\r\n\r\n"), 0},
		"no end of the trailer": {unsigned("0\r\nx-amz-checksum-crc32:a\r\n"), 0},
	} {
		if b, _, err := readChunks(nil, UnsignedTrailer, c.body, c.length, "x-amz-checksum-crc32"); !errors.Is(err, ErrChunk) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if _, err := Chunked(nil, Stream, nil, 1, ""); !errors.Is(err, ErrUnsigned) {
		t.Errorf("signed chunks of nobody: %v", err)
	}
	if _, err := Chunked(nil, UnsignedTrailer, nil, 1, strings.Repeat("x,", 17)); !errors.Is(err, ErrChunk) {
		t.Errorf("many trailers: %v", err)
	}
}

func TestKeysAreBounded(t *testing.T) {
	var k Keys
	for i := range keysMax + 10 {
		k.derive(fmt.Sprint(i), "s", "20260203", "r", "s3")
	}
	if n := len(k.all); n > keysMax {
		t.Errorf("%d keys are kept", n)
	}
	one := k.derive("a", "s", "20260203", "r", "s3")
	if two := k.derive("a", "changed", "20260203", "r", "s3"); one == two {
		t.Error("a changed secret has the old key")
	}
}

func FuzzParse(f *testing.F) {
	r := signed(f, "GET", "http://h/b", Empty)
	f.Add(r.Header.Get("Authorization"), "20260203T120000Z", "")
	f.Add("AWS a:b", "Tue, 27 Mar 2007 19:36:42 +0000", "acl")
	f.Add("", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2F20260203%2Fr%2Fs3%2Faws4_request&X-Amz-Date=20260203T120000Z&X-Amz-Expires=9&X-Amz-SignedHeaders=host&X-Amz-Signature=0")
	f.Add("", "", "AWSAccessKeyId=a&Signature=b&Expires=9999999999")
	f.Fuzz(func(t *testing.T, authorization, date, query string) {
		q, err := ParseQuery(query)
		if err != nil {
			return
		}
		h := &http.Request{Method: "GET", Host: "h", Header: http.Header{}, URL: r.URL}
		if authorization != "" {
			h.Header.Set("Authorization", authorization)
		}
		h.Header.Set("X-Amz-Date", date)
		req := Request{Request: h, Query: q}
		a, err := Parse(req)
		if err != nil || a == nil {
			return
		}
		if err := a.Verify(req, "a secret that no input knows", noon, &Keys{}); err == nil {
			t.Errorf("verified: %q %q %q", authorization, date, query)
		}
	})
}

func FuzzChunked(f *testing.F) {
	_, body := streamed(f, UnsignedTrailer, []byte("hello world"), 4, Query{{"x-amz-checksum-crc32", "AAAAAA=="}})
	f.Add(body, 11)
	f.Add([]byte("0\r\n\r\n"), 0)
	f.Add([]byte("5;x=y\r\nabcde\r\n0\r\n\r\n"), 5)
	f.Fuzz(func(t *testing.T, body []byte, length int) {
		got, _, err := readChunks(nil, UnsignedTrailer, body, length, "x-amz-checksum-crc32")
		if err == nil && len(got) != length {
			t.Errorf("%d bytes of %d without an error", len(got), length)
		}
	})
}

func FuzzQuery(f *testing.F) {
	f.Add("a=b&c&d=%20+")
	f.Add("%zz")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := ParseQuery(raw)
		if err != nil {
			return
		}
		c := string(q.canonical(nil, ""))
		again, err := ParseQuery(c)
		if err != nil || string(again.canonical(nil, "")) != c {
			t.Errorf("%q: %q is not canonical: %v", raw, c, err)
		}
	})
}
