package s3

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"hash/crc64"
	"math/rand/v2"
	"strings"
	"testing"

	"polder.dev/polder/storage"
)

// begin starts an upload of a key and returns its id.
func (w *world) begin(key string, h ...string) string {
	w.t.Helper()
	var u struct{ UploadId, Bucket, Key string }
	if err := xml.Unmarshal(w.ok(w.main("POST", "/data/"+key+"?uploads", "", h...)).body, &u); err != nil {
		w.t.Fatal(err)
	}
	if u.Bucket != "data" || u.Key != key || u.UploadId == "" {
		w.t.Errorf("began %+v", u)
	}
	return u.UploadId
}

func (w *world) part(key, id string, n int, body []byte, h ...string) *reply {
	w.t.Helper()
	return w.as("MAIN", "PUT", fmt.Sprintf("/data/%s?partNumber=%d&uploadId=%s", key, n, id), body, h)
}

// named is a part in CompleteMultipartUpload.
func named(n int, etag string, more ...string) string {
	return fmt.Sprintf("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag>%s</Part>", n, etag, strings.Join(more, ""))
}

func (w *world) complete(key, id string, parts ...string) *reply {
	w.t.Helper()
	return w.main("POST", "/data/"+key+"?uploadId="+id, "<CompleteMultipartUpload>"+strings.Join(parts, "")+"</CompleteMultipartUpload>")
}

const mib5 = storage.PartBytesMin

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestUpload(t *testing.T) {
	w := bucketed(t)
	data := noise(mib5*2 + 100)
	id := w.begin("big", "X-Amz-Meta-A", "b", "Content-Type", "x/y")
	var refs []string
	for i, p := range [][]byte{data[:mib5], data[mib5 : 2*mib5], data[2*mib5:]} {
		r := w.ok(w.part("big", id, i+1, p))
		refs = append(refs, named(i+1, r.Header.Get("Etag")))
	}
	r := w.ok(w.complete("big", id, refs...))
	var done struct{ Location, Bucket, Key, ETag string }
	if err := xml.Unmarshal(r.body, &done); err != nil || done.Bucket != "data" || done.Key != "big" || !strings.HasSuffix(done.Location, "/data/big") || !strings.HasSuffix(done.ETag, `-3"`) {
		t.Errorf("%+v, %v", done, err)
	}
	got := w.ok(w.main("GET", "/data/big", ""))
	if !bytes.Equal(got.body, data) || got.Header.Get("Etag") != done.ETag || got.Header.Get("X-Amz-Meta-A") != "b" || got.Header.Get("Content-Type") != "x/y" {
		t.Errorf("%d bytes, head %v", len(got.body), got.Header)
	}
	w.ok(w.complete("big", id, refs...)) // again
	w.want(w.main("DELETE", "/data/big?uploadId="+id, ""), 404, "NoSuchUpload")
	for n, want := range [][]byte{data[:mib5], data[mib5 : 2*mib5], data[2*mib5:]} {
		r := w.want(w.main("GET", fmt.Sprintf("/data/big?partNumber=%d", n+1), ""), 206, "")
		if !bytes.Equal(r.body, want) || r.Header.Get("X-Amz-Mp-Parts-Count") != "3" || r.Header.Get("Etag") != done.ETag {
			t.Errorf("part %d: %d bytes, %v", n+1, len(r.body), r.Header)
		}
	}
	w.want(w.main("GET", "/data/big?partNumber=4", ""), 400, "InvalidPart")
	w.want(w.main("GET", "/data/big?partNumber=x", ""), 400, "InvalidArgument")
	w.want(w.main("GET", "/data/big?partNumber=1", "", "Range", "bytes=0-1"), 400, "InvalidRequest")
	w.fill("single")
	w.want(w.main("GET", "/data/single?partNumber=1", ""), 206, "")
	w.want(w.main("GET", "/data/single?partNumber=2", ""), 400, "InvalidPart")
	r = w.want(w.main("GET", "/data/big", "", "Range", fmt.Sprintf("bytes=%d-%d", mib5-2, mib5+1)), 206, "")
	if !bytes.Equal(r.body, data[mib5-2:mib5+2]) {
		t.Error("a range over a part's border")
	}
}

func TestUploadRefusals(t *testing.T) {
	w := bucketed(t)
	id := w.begin("k")
	tag := w.ok(w.part("k", id, 1, []byte("small"))).Header.Get("Etag")
	w.ok(w.part("k", id, 2, []byte("small")))
	w.want(w.complete("k", id), 400, "MalformedXML")
	w.want(w.complete("k", id, named(1, tag), named(2, tag)), 400, "EntityTooSmall")
	w.want(w.complete("k", id, named(1, "ffffffffffffffffffffffffffffffff")), 400, "InvalidPart")
	w.want(w.complete("k", id, named(9999, tag)), 400, "InvalidPart")
	w.want(w.complete("k", id, named(2, tag), named(1, tag)), 400, "InvalidPartOrder")
	w.want(w.complete("k", "0000", named(1, tag)), 404, "NoSuchUpload")
	w.want(w.part("k", id, 0, nil), 400, "InvalidArgument")
	w.want(w.part("k", id, 10001, nil), 400, "InvalidArgument")
	w.want(w.part("k", "nosuch", 1, []byte("x")), 404, "NoSuchUpload")
	w.want(w.part("other", id, 1, []byte("x")), 404, "NoSuchUpload")
	w.want(w.part("k", id, 1, []byte("x"), "Content-MD5", md5Base64("y")), 400, "BadDigest")
	whole := "<CompleteMultipartUpload>" + named(1, tag) + "</CompleteMultipartUpload>"
	w.want(w.main("POST", "/data/k?uploadId="+id, whole, "X-Amz-Mp-Object-Size", "6"), 400, "InvalidRequest")
	w.want(w.main("POST", "/data/k?uploadId="+id, whole, "If-Match", `"x"`), 404, "NoSuchKey")
	w.ok(w.main("PUT", "/data/k", "there"))
	w.want(w.main("POST", "/data/k?uploadId="+id, whole, "If-None-Match", "*"), 412, "PreconditionFailed")
	w.ok(w.main("POST", "/data/k?uploadId="+id, whole, "X-Amz-Mp-Object-Size", "5", "If-Match", etag("there")))
	if got := w.ok(w.main("GET", "/data/k", "")); string(got.body) != "small" {
		t.Errorf("got %q", got.body)
	}
	id = w.begin("k")
	w.want(w.main("DELETE", "/data/k?uploadId="+id, ""), 204, "")
	w.want(w.main("DELETE", "/data/k?uploadId="+id, ""), 404, "NoSuchUpload")
	w.want(w.main("POST", "/data/k?uploads", "", "X-Amz-Checksum-Algorithm", "SHA256", "X-Amz-Checksum-Type", "FULL_OBJECT"), 400, "InvalidRequest")
	w.want(w.main("POST", "/data/k?uploads", "", "X-Amz-Checksum-Algorithm", "CRC64NVME", "X-Amz-Checksum-Type", "COMPOSITE"), 400, "InvalidRequest")
	w.want(w.main("POST", "/data/k?uploads", "", "X-Amz-Checksum-Type", "COMPOSITE"), 400, "InvalidRequest")
	w.want(w.main("POST", "/data/k?uploads", "", "X-Amz-Checksum-Algorithm", "MD4"), 400, "InvalidRequest")
}

func TestUploadLists(t *testing.T) {
	w := bucketed(t)
	ids := map[string]bool{}
	for _, k := range []string{"a", "a", "b", "dir/c", "dir/d"} {
		ids[w.begin(k)] = true
	}
	seen := 0
	next := ""
	for range 10 {
		var p struct {
			Upload []struct {
				Key, UploadId string
				Owner         struct{ ID string }
			}
			NextKeyMarker, NextUploadIdMarker string
			IsTruncated                       bool
		}
		if err := xml.Unmarshal(w.ok(w.main("GET", "/data?uploads&max-uploads=2"+next, "")).body, &p); err != nil {
			t.Fatal(err)
		}
		for _, u := range p.Upload {
			if !ids[u.UploadId] || u.Owner.ID != "main" {
				t.Errorf("upload %+v", u)
			}
			seen++
		}
		if last := p.Upload[len(p.Upload)-1]; p.NextKeyMarker != last.Key || p.NextUploadIdMarker != last.UploadId {
			t.Errorf("the page ends with %+v, and the next one begins behind %s %s", last, p.NextKeyMarker, p.NextUploadIdMarker)
		}
		if !p.IsTruncated {
			break
		}
		next = "&key-marker=" + p.NextKeyMarker + "&upload-id-marker=" + p.NextUploadIdMarker
	}
	if seen != 5 {
		t.Errorf("%d uploads are listed", seen)
	}
	p := w.list("uploads&delimiter=/")
	if len(p.CommonPrefixes) != 1 {
		t.Errorf("%+v", p)
	}
	id := w.begin("k")
	for n := 1; n <= 5; n++ {
		w.ok(w.part("k", id, n, []byte(fmt.Sprint(n))))
	}
	var parts struct {
		Part                 []struct{ PartNumber, Size int }
		NextPartNumberMarker int
		IsTruncated          bool
	}
	if err := xml.Unmarshal(w.ok(w.main("GET", "/data/k?uploadId="+id+"&max-parts=2&part-number-marker=2", "")).body, &parts); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(parts) != "{[{3 1} {4 1}] 4 true}" {
		t.Error(parts)
	}
	w.want(w.main("GET", "/data/k?uploadId=none", ""), 404, "NoSuchUpload")
}

// sumOf is a checksum as clients send it.
func sumOf(a *algorithm, b []byte) string {
	h := a.make()
	h.Write(b)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// TestChecksums stores and shows every algorithm, in a single object and in parts.
func TestChecksums(t *testing.T) {
	w := bucketed(t)
	data := noise(mib5 + 1000)
	if got := sumOf(algorithmOf("crc64nvme"), []byte("123456789")); got != "rosUhgp5mIg=" {
		t.Errorf("the check value of CRC64NVME is %s", got)
	}
	for _, a := range algorithms {
		want := sumOf(a, data)
		r := w.ok(w.as("MAIN", "PUT", "/data/k", data, head{a.header, want}))
		if r.Header.Get(a.header) != want || r.Header.Get("X-Amz-Checksum-Type") != fullObject {
			t.Errorf("%s: PUT answers %q", a.name, r.Header.Get(a.header))
		}
		h := w.ok(w.main("HEAD", "/data/k", "", "X-Amz-Checksum-Mode", "ENABLED"))
		if h.Header.Get(a.header) != want {
			t.Errorf("%s: HEAD answers %q", a.name, h.Header.Get(a.header))
		}
		if h := w.ok(w.main("HEAD", "/data/k", "")); h.Header.Get(a.header) != "" {
			t.Errorf("%s: told though nobody asked", a.name)
		}
		w.want(w.as("MAIN", "PUT", "/data/k", data, head{a.header, sumOf(a, data[1:])}), 400, "BadDigest")
		if got := w.ok(w.as("MAIN", "PUT", "/data/named", data, head{"X-Amz-Sdk-Checksum-Algorithm", a.name})); got.Header.Get(a.header) != want {
			t.Errorf("%s: only named: %q", a.name, got.Header.Get(a.header))
		}
		for _, kind := range []string{composite, fullObject} {
			if kind == fullObject && a.poly == 0 || kind == composite && a.name == "CRC64NVME" {
				continue
			}
			id := w.begin("k", "X-Amz-Checksum-Algorithm", a.name, "X-Amz-Checksum-Type", kind)
			one, two := data[:mib5], data[mib5:]
			r1 := w.ok(w.part("k", id, 1, one, a.header, sumOf(a, one)))
			r2 := w.ok(w.part("k", id, 2, two)) // the server makes it
			if r2.Header.Get(a.header) != sumOf(a, two) {
				t.Errorf("%s: a part's checksum is %q", a.name, r2.Header.Get(a.header))
			}
			other := algorithms[0]
			if other == a {
				other = algorithms[1]
			}
			w.want(w.part("k", id, 3, two, other.header, sumOf(other, two)), 400, "InvalidRequest")
			bad := fmt.Sprintf("<%s>%s</%s>", a.element, sumOf(a, one), a.element)
			w.want(w.complete("k", id, named(1, r1.Header.Get("Etag")), named(2, r2.Header.Get("Etag"), bad)), 400, "InvalidPart")
			first := "<CompleteMultipartUpload>" + named(1, r1.Header.Get("Etag")) + "</CompleteMultipartUpload>"
			w.want(w.main("POST", "/data/k?uploadId="+id, first, a.header, "x"), 400, "InvalidRequest")
			w.want(w.main("POST", "/data/k?uploadId="+id, first, a.header, sumOf(a, one), other.header, sumOf(other, one)), 400, "InvalidRequest")
			w.want(w.complete("k", id, named(0, r1.Header.Get("Etag"))), 400, "InvalidArgument")
			mode := map[string]string{composite: fullObject, fullObject: composite}[kind]
			w.want(w.main("POST", "/data/k?uploadId="+id, first, "X-Amz-Checksum-Type", mode), 400, "InvalidRequest")
			w.ok(w.complete("k", id, named(1, r1.Header.Get("Etag"), bad), named(2, r2.Header.Get("Etag"))))
			whole := want
			if kind == composite {
				raw1, _ := base64.StdEncoding.DecodeString(sumOf(a, one))
				raw2, _ := base64.StdEncoding.DecodeString(sumOf(a, two))
				whole = sumOf(a, append(raw1, raw2...)) + "-2"
			}
			h := w.ok(w.main("HEAD", "/data/k", "", "X-Amz-Checksum-Mode", "ENABLED"))
			if h.Header.Get(a.header) != whole || h.Header.Get("X-Amz-Checksum-Type") != kind {
				t.Errorf("%s %s: %q %s, want %q", a.name, kind, h.Header.Get(a.header), h.Header.Get("X-Amz-Checksum-Type"), whole)
			}
			p := w.want(w.main("GET", "/data/k?partNumber=2", "", "X-Amz-Checksum-Mode", "ENABLED"), 206, "")
			if p.Header.Get(a.header) != sumOf(a, two) {
				t.Errorf("%s: part 2 has %q", a.name, p.Header.Get(a.header))
			}
			w.attributes(a, whole, kind)
			// A copy is one object, and its checksum the whole's.
			w.ok(w.main("PUT", "/data/copy", "", "X-Amz-Copy-Source", "/data/k"))
			if h := w.ok(w.main("HEAD", "/data/copy", "", "X-Amz-Checksum-Mode", "ENABLED")); h.Header.Get(a.header) != want {
				t.Errorf("%s: a copy has %q", a.name, h.Header.Get(a.header))
			}
		}
	}
}

// attributes asks for those of the object with two parts.
func (w *world) attributes(a *algorithm, whole, kind string) {
	w.t.Helper()
	r := w.ok(w.main("GET", "/data/k?attributes", "", "X-Amz-Object-Attributes", "ETag,Checksum,ObjectParts,StorageClass,ObjectSize"))
	var got struct {
		ETag, StorageClass string
		ObjectSize         int
		Checksum           struct{ ChecksumType string }
		ObjectParts        struct {
			PartsCount int
			Part       []struct{ PartNumber, Size int }
		}
	}
	if err := xml.Unmarshal(r.body, &got); err != nil {
		w.t.Fatal(err)
	}
	if got.ObjectSize != mib5+1000 || got.Checksum.ChecksumType != kind || got.ObjectParts.PartsCount != 2 || len(got.ObjectParts.Part) != 2 ||
		got.ObjectParts.Part[1].Size != 1000 || got.StorageClass != "STANDARD" || !strings.Contains(string(r.body), "<"+a.element+">"+strings.ReplaceAll(whole, "+", "+")) {
		w.t.Errorf("%s: %s", a.name, r.body)
	}
	w.want(w.main("GET", "/data/k?attributes", ""), 400, "InvalidRequest")
	w.want(w.main("GET", "/data/k?attributes", "", "X-Amz-Object-Attributes", "Colour"), 400, "InvalidArgument")
	w.want(w.main("GET", "/data/none?attributes", "", "X-Amz-Object-Attributes", "ETag"), 404, "NoSuchKey")
}

func TestCombine(t *testing.T) {
	data := noise(1000)
	for _, cut := range []int{0, 1, 7, 500, 999, 1000} {
		one, two := data[:cut], data[cut:]
		for _, c := range []struct {
			name             string
			one, two, whole_ uint64
		}{
			{"CRC32", uint64(crc32.ChecksumIEEE(one)), uint64(crc32.ChecksumIEEE(two)), uint64(crc32.ChecksumIEEE(data))},
			{"CRC32C", uint64(crc32.Checksum(one, tableC)), uint64(crc32.Checksum(two, tableC)), uint64(crc32.Checksum(data, tableC))},
			{"CRC64NVME", crc64.Checksum(one, tableNVME), crc64.Checksum(two, tableNVME), crc64.Checksum(data, tableNVME)},
		} {
			if got := algorithmOf(c.name).combine(c.one, c.two, int64(len(two))); got != c.whole_ {
				t.Errorf("%s cut at %d: %x, want %x", c.name, cut, got, c.whole_)
			}
		}
	}
}

func FuzzParts(f *testing.F) {
	f.Add("5242880x3,17;SHA256;a,b,c,d")
	f.Add("1x9999999,2")
	f.Fuzz(func(t *testing.T, s string) {
		info := &storage.Info{Meta: storage.Meta{System: map[string]string{systemParts: s}}}
		p, err := partsOf(info)
		if err != nil || s == "" {
			return
		}
		info.Meta.System[systemParts] = p.encode()
		again, err := partsOf(info)
		if err != nil || fmt.Sprint(again.sizes) != fmt.Sprint(p.sizes) {
			t.Errorf("%q: %v, %v, %v", s, p.sizes, again, err)
		}
	})
}

func TestCopy(t *testing.T) {
	w := bucketed(t)
	w.ok(w.main("PUT", "/other", ""))
	w.ok(w.main("PUT", "/data/src%20%2B", "body", "X-Amz-Meta-A", "b", "Content-Type", "x/y", "Cache-Control", "no-store"))
	src := "/data/src%20%2B"
	copied := func(h ...string) *reply {
		return w.main("PUT", "/other/dst", "", append([]string{"X-Amz-Copy-Source", src}, h...)...)
	}
	r := w.ok(copied())
	if !strings.Contains(string(r.body), "<ETag>&#34;") {
		t.Errorf("%s", r.body)
	}
	got := w.ok(w.main("GET", "/other/dst", ""))
	if string(got.body) != "body" || got.Header.Get("X-Amz-Meta-A") != "b" || got.Header.Get("Content-Type") != "x/y" || got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%q %v", got.body, got.Header)
	}
	w.ok(copied("X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-C", "d"))
	got = w.ok(w.main("GET", "/other/dst", ""))
	if got.Header.Get("X-Amz-Meta-A") != "" || got.Header.Get("X-Amz-Meta-C") != "d" || got.Header.Get("Content-Type") != defaultType {
		t.Errorf("%v", got.Header)
	}
	tag := etag("body")
	for _, c := range []struct {
		k, v   string
		status int
	}{
		{"If-Match", tag, 200}, {"If-Match", `"x"`, 412}, {"If-None-Match", tag, 412}, {"If-None-Match", `"x"`, 200},
		{"If-Modified-Since", "Mon, 01 Jan 2035 00:00:00 GMT", 412}, {"If-Modified-Since", "Mon, 01 Jan 2001 00:00:00 GMT", 200},
		{"If-Unmodified-Since", "Mon, 01 Jan 2001 00:00:00 GMT", 412},
	} {
		w.want(copied("X-Amz-Copy-Source-"+c.k, c.v), c.status, "")
	}
	w.want(w.main("PUT", src, "", "X-Amz-Copy-Source", src), 400, "InvalidRequest")
	w.ok(w.main("PUT", src, "", "X-Amz-Copy-Source", src, "X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-New", "1"))
	got = w.ok(w.main("GET", src, ""))
	if string(got.body) != "body" || got.Header.Get("X-Amz-Meta-New") != "1" {
		t.Errorf("onto itself: %q %v", got.body, got.Header)
	}
	for s, code := range map[string]string{
		"/data/none": "NoSuchKey", "/none/k": "NoSuchBucket", "data": "InvalidArgument", "/data/": "InvalidArgument", "/data/%zz": "InvalidArgument",
		src + "?versionId=ffff": "NoSuchVersion", src + "?versionId=": "InvalidArgument",
	} {
		r := w.main("PUT", "/other/dst", "", "X-Amz-Copy-Source", s)
		if r.code() != code {
			t.Errorf("source %s: %s, want %s", s, r.code(), code)
		}
	}
	w.want(copied("X-Amz-Metadata-Directive", "MERGE"), 400, "InvalidArgument")
	w.want(copied("X-Amz-Source-Expected-Bucket-Owner", "alt"), 403, "AccessDenied")
	w.ok(w.as("ALT", "PUT", "/theirs", nil, nil))
	w.want(w.as("ALT", "PUT", "/theirs/dst", nil, head{"X-Amz-Copy-Source", src}), 403, "AccessDenied")
	w.want(w.as("MAIN", "PUT", "/theirs/dst", nil, head{"X-Amz-Copy-Source", src}), 403, "AccessDenied")
}

func TestPartCopy(t *testing.T) {
	w := bucketed(t)
	data := noise(mib5 + 10)
	w.ok(w.as("MAIN", "PUT", "/data/src", data, nil))
	id := w.begin("k", "X-Amz-Checksum-Algorithm", "SHA256")
	path := func(n int) string { return fmt.Sprintf("/data/k?partNumber=%d&uploadId=%s", n, id) }
	tagOf := func(r *reply) string {
		var c struct{ ETag string }
		if err := xml.Unmarshal(r.body, &c); err != nil {
			t.Fatal(err)
		}
		return c.ETag
	}
	one := tagOf(w.ok(w.main("PUT", path(1), "", "X-Amz-Copy-Source", "/data/src", "X-Amz-Copy-Source-Range", fmt.Sprintf("bytes=0-%d", mib5-1))))
	two := tagOf(w.ok(w.main("PUT", path(2), "", "X-Amz-Copy-Source", "data/src")))
	for rng, code := range map[string]string{
		"bytes=0-" + fmt.Sprint(mib5+10): "InvalidRange", "bytes=-5": "InvalidArgument", "bytes=5-": "InvalidArgument", "0-5": "InvalidArgument", "bytes=5-2": "InvalidArgument",
		"bytes=0-x": "InvalidArgument",
	} {
		r := w.main("PUT", path(3), "", "X-Amz-Copy-Source", "/data/src", "X-Amz-Copy-Source-Range", rng)
		if r.code() != code {
			t.Errorf("%s: %s, want %s", rng, r.code(), code)
		}
	}
	w.ok(w.complete("k", id, named(1, one), named(2, two)))
	got := w.ok(w.main("GET", "/data/k", ""))
	if !bytes.Equal(got.body, append(bytes.Clone(data[:mib5]), data...)) {
		t.Errorf("%d bytes, not those that were copied", len(got.body))
	}
	sum := sha256.Sum256(data[:mib5])
	r := w.want(w.main("GET", "/data/k?partNumber=1", "", "X-Amz-Checksum-Mode", "ENABLED"), 206, "")
	if r.Header.Get("X-Amz-Checksum-Sha256") != base64.StdEncoding.EncodeToString(sum[:]) {
		t.Errorf("part 1 has checksum %q", r.Header.Get("X-Amz-Checksum-Sha256"))
	}
}
