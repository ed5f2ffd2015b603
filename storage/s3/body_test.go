package s3

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage/s3/sigv4"
)

// chunked makes a signed request with an aws-chunked body; who "" signs nothing.
func (w *world) chunked(who, payload string, data []byte, trailers sigv4.Query, h ...string) (*http.Request, []byte) {
	w.t.Helper()
	h = append(h, "Content-Encoding", "aws-chunked,gzip", "X-Amz-Decoded-Content-Length", fmt.Sprint(len(data)))
	for _, t := range trailers {
		h = append(h, "X-Amz-Trailer", t.Key)
	}
	r := w.request("PUT", "/data/k", nil, h)
	now := time.Now()
	s := w.signer(who)
	if who == "" {
		r.Header.Set("X-Amz-Content-Sha256", payload)
	} else if err := s.Sign(r, payload, now); err != nil {
		w.t.Fatal(err)
	}
	return r, s.Stream(r, payload, now, data, 1000, trailers)
}

// sendRaw writes a request's head with a body's length, and the body.
func (w *world) sendRaw(r *http.Request, length int, body []byte) *reply {
	w.t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nConnection: close\r\n", r.URL.RequestURI(), r.URL.Host, length)
	if err := r.Header.Write(&b); err != nil {
		w.t.Fatal(err)
	}
	b.WriteString("\r\n")
	b.Write(body)
	return w.rawAll(b.String(), len(body) < length)
}

func TestChunkedBodies(t *testing.T) {
	w := bucketed(t)
	data := noise(2500)
	crc := sumOf(algorithmOf("CRC32C"), data)
	good := sigv4.Query{{Key: "x-amz-checksum-crc32c", Value: crc}}
	for _, payload := range []string{sigv4.Stream, sigv4.StreamTrailer, sigv4.UnsignedTrailer} {
		trailers := good
		if payload == sigv4.Stream {
			trailers = nil
		}
		r, body := w.chunked("MAIN", payload, data, trailers)
		w.want(w.sendRaw(r, len(body), body), 200, "")
		got := w.ok(w.main("GET", "/data/k", "", "X-Amz-Checksum-Mode", "ENABLED"))
		if !bytes.Equal(got.body, data) || got.Header.Get("Content-Encoding") != "gzip" || trailers != nil && got.Header.Get("X-Amz-Checksum-Crc32c") != crc {
			t.Errorf("%s: %d bytes, head %v", payload, len(got.body), got.Header)
		}
		w.want(w.main("DELETE", "/data/k", ""), 204, "")

		// Cut at every border of a chunk, with the length that was announced and with the
		// one that is left: the request ends, with an error, and nothing is stored.
		for i := range body {
			if !bytes.HasPrefix(body[i:], []byte("\r\n")) {
				continue
			}
			for _, cut := range []int{i, i + 1, i + 2} {
				if cut >= len(body) {
					continue
				}
				for _, length := range []int{cut, len(body)} {
					if r := w.sendRaw(r, length, body[:cut]); r.StatusCode == 200 {
						t.Errorf("%s cut at %d of %d, length %d: status %d", payload, cut, len(body), length, r.StatusCode)
					}
				}
			}
		}
		w.want(w.main("GET", "/data/k", ""), 404, "NoSuchKey")
	}
	for name, c := range map[string]struct {
		payload  string
		trailers sigv4.Query
		data     []byte
		code     string
	}{
		"a wrong checksum":        {sigv4.UnsignedTrailer, sigv4.Query{{Key: "x-amz-checksum-crc32c", Value: sumOf(algorithmOf("CRC32C"), []byte("x"))}}, data, "BadDigest"},
		"a checksum that is none": {sigv4.StreamTrailer, sigv4.Query{{Key: "x-amz-checksum-crc32c", Value: "x"}}, data, "InvalidRequest"},
		"an unknown trailer":      {sigv4.UnsignedTrailer, sigv4.Query{{Key: "x-object-manifest", Value: "x"}}, data, "InvalidRequest"},
	} {
		r, body := w.chunked("MAIN", c.payload, c.data, c.trailers)
		w.want(w.sendRaw(r, len(body), body), 400, c.code)
		w.want(w.main("GET", "/data/k", ""), 404, "NoSuchKey")
		_ = name
	}
	r, body := w.chunked("MAIN", sigv4.StreamTrailer, data, good)
	bad := bytes.Clone(body)
	bad[len(bad)/2] ^= 1
	w.want(w.sendRaw(r, len(bad), bad), 403, "SignatureDoesNotMatch")
	r.Header.Set("X-Amz-Decoded-Content-Length", "2501")
	w.want(w.sendRaw(r, len(body), body), 403, "SignatureDoesNotMatch")
	r, body = w.chunked("", sigv4.UnsignedTrailer, data, good)
	w.want(w.sendRaw(r, len(body), body), 403, "AccessDenied")
	w.ok(w.main("PUT", "/data?acl", "", "X-Amz-Acl", "public-read-write"))
	w.want(w.sendRaw(r, len(body), body), 200, "")
	r, body = w.chunked("", sigv4.StreamTrailer, data, good)
	w.want(w.sendRaw(r, len(body), body), 403, "AccessDenied")
}

func TestPayloadHash(t *testing.T) {
	w := bucketed(t)
	send := func(hash, body string) *reply {
		r := w.request("PUT", "/data/k", []byte(body), nil)
		if err := w.signer("MAIN").Sign(r, hash, time.Now()); err != nil {
			t.Fatal(err)
		}
		return w.do(r)
	}
	w.want(send(sigv4.Empty, "body"), 400, "XAmzContentSHA256Mismatch")
	w.want(send("nonsense", "body"), 400, "InvalidArgument")
	w.want(w.main("GET", "/data/k", ""), 404, "NoSuchKey")
	w.want(send(sigv4.Unsigned, "body"), 200, "")
	w.want(send(sigv4.Empty, ""), 200, "")
}

// TestPresigned has the ways in which a presigned URL could be put to another use.
func TestPresigned(t *testing.T) {
	w := bucketed(t)
	w.ok(w.main("PUT", "/data/secret", "secret"))
	presign := func(method, path string, h ...string) *http.Request {
		r := w.request(method, path, nil, h)
		if err := w.signer("MAIN").Presign(r, time.Minute, time.Now()); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if got := w.ok(w.do(presign("GET", "/data/secret?response-content-type=a/b"))); string(got.body) != "secret" || got.Header.Get("Content-Type") != "a/b" {
		t.Errorf("%q %v", got.body, got.Header)
	}
	put := presign("PUT", "/data/k")
	put.Header.Set("X-Amz-Copy-Source", "/data/secret")
	w.want(w.do(put), 403, "AccessDenied")
	w.want(w.main("HEAD", "/data/k", ""), 404, "")
	w.ok(w.do(presign("PUT", "/data/k", "X-Amz-Copy-Source", "/data/secret")))
	for _, h := range []string{"X-Amz-Acl", "X-Amz-Meta-A", "X-Amz-Tagging", "X-Polder-Durability"} {
		put = presign("PUT", "/data/k")
		put.Header.Set(h, "public-read")
		w.want(w.do(put), 403, "AccessDenied")
	}
	del := presign("GET", "/data/secret")
	del.Method = "DELETE"
	w.want(w.do(del), 403, "SignatureDoesNotMatch")
	old := w.request("GET", "/data/secret", nil, nil)
	if err := w.signer("MAIN").Presign(old, time.Minute, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	r := w.want(w.do(old), 403, "AccessDenied")
	if !strings.Contains(string(r.body), "expired") {
		t.Errorf("the message does not say that it expired: %s", r.body)
	}
}

func TestVersion2AndVirtualHosts(t *testing.T) {
	m := newWorld(t)
	w := serve(t, m.store, Config{Domains: []string{"s3.test"}})
	w.ok(w.main("PUT", "/data", ""))
	virtual := func(method, path, body string, two bool) *reply {
		r := w.request(method, path, []byte(body), nil)
		r.Host = "data.s3.test:80"
		var err error
		if two {
			err = w.signer("MAIN").Sign2(r, "data", time.Now())
		} else {
			err = w.signer("MAIN").Sign(r, sigv4.Unsigned, time.Now())
		}
		if err != nil {
			t.Fatal(err)
		}
		return w.do(r)
	}
	w.ok(virtual("PUT", "/a/k", "body", false))
	if got := w.ok(w.main("GET", "/data/a/k", "")); string(got.body) != "body" {
		t.Errorf("%q", got.body)
	}
	w.ok(virtual("PUT", "/a/two", "body", true))
	if got := w.ok(virtual("GET", "/?prefix=a/&max-keys=1", "", true)); !bytes.Contains(got.body, []byte("<Key>a/k</Key>")) {
		t.Errorf("%s", got.body)
	}
	r := w.request("GET", "/data/a/k", nil, nil)
	if err := w.signer("MAIN").Sign2(r, "", time.Now()); err != nil {
		t.Fatal(err)
	}
	w.ok(w.do(r))
	r.Header.Set("X-Amz-Meta-More", "1")
	w.want(w.do(r), 403, "SignatureDoesNotMatch")
	r.Header.Set("Date", "Tue, 07 Jul 2010 21:53:04 GMT")
	w.want(w.do(r), 403, "RequestTimeTooSkewed")
}

// TestPresigned2 sees that a URL of Version 2, which signs few parameters, does not become
// one for another operation.
func TestPresigned2(t *testing.T) {
	w := bucketed(t)
	w.ok(w.main("PUT", "/data/k", "body"))
	expires := fmt.Sprint(time.Now().Add(time.Minute).Unix())
	ask := func(method, path, more string, h ...string) *reply {
		sig := url.QueryEscape(w.signer("MAIN").Presign2(method, path, expires))
		return w.do(w.request(method, path+"?AWSAccessKeyId=MAIN&Expires="+expires+"&Signature="+sig+more, nil, h))
	}
	if got := w.ok(ask("GET", "/data/k", "")); string(got.body) != "body" {
		t.Errorf("%q", got.body)
	}
	w.ok(ask("GET", "/data", "&list-type=2"))
	w.want(ask("GET", "/data/k", "&attributes"), 403, "AccessDenied")
	w.want(ask("GET", "/data/k", "&acl"), 403, "SignatureDoesNotMatch")
	w.want(ask("PUT", "/data", "&publicAccessBlock"), 403, "AccessDenied")
	w.want(ask("PUT", "/fast", "", "X-Polder-Durability", "written"), 403, "AccessDenied")
	w.want(ask("PUT", "/data/k", "", "X-Amz-Copy-Source", "/data/k"), 403, "SignatureDoesNotMatch")
	both := w.signedGet("/data/k?X-Amz-Signature=0")
	w.want(w.do(both), 400, "InvalidArgument")
}

func FuzzRequest(f *testing.F) {
	f.Add("GET", "/data/k?versionId=1", "Range", "bytes=0-1", "")
	f.Add("PUT", "/data/k?partNumber=1&uploadId=2", "X-Amz-Copy-Source", "/data/k?versionId=3", "body")
	f.Add("POST", "/data?delete", "Content-Md5", base64.StdEncoding.EncodeToString(make([]byte, 16)), "<Delete><Object><Key>k</Key></Object></Delete>")
	f.Add("PUT", "/data?versioning", "X-Amz-Trailer", "x-amz-checksum-crc32", "<VersioningConfiguration>")
	w := bucketed(f)
	w.ok(w.main("PUT", "/data/k", "body"))
	f.Fuzz(func(t *testing.T, method, target, header, value, body string) {
		r, err := http.NewRequest(method, "http://h"+target, strings.NewReader(body))
		if err != nil || strings.ContainsAny(header, "\r\n: ") || header == "" || strings.ContainsAny(value, "\r\n") {
			return
		}
		r.Header.Set(header, value)
		if err := w.signer("OPS").Sign(r, sigv4.Unsigned, time.Now()); err != nil {
			return
		}
		rec := &recorder{head: http.Header{}}
		w.s3.ServeHTTP(rec, r)
		if rec.status >= 500 && rec.status != http.StatusNotImplemented {
			t.Errorf("%s %s with %s: %s and %q: status %d\n%s", method, target, header, value, body, rec.status, rec.body.Bytes())
		}
	})
}

// recorder is a ResponseWriter without a connection.
type recorder struct {
	head   http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.head }
func (r *recorder) WriteHeader(s int)   { r.status = s }
func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.body.Write(p)
}
