package s3

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/s3/sigv4"
	"polder.dev/polder/storage/seal"
)

// sealedWorld is one with two keys, "usual" and "other".
func sealedWorld(t testing.TB) *world {
	t.Helper()
	line := func(id, where string) string {
		return "- {id: " + id + ", key: " + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte(id[:1]), 32)) + ", jurisdictions: [" + where + "]}\n"
	}
	keys, err := seal.ParseKeys([]byte("keys:\n"+line("usual", `""`)+line("other", "")), func(storage.Settings) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	m := mem.New(0, time.Now)
	t.Cleanup(func() { _ = m.Close() })
	return serve(t, m, Config{Keys: keys})
}

// sse are the headers for a key of the client whose bytes are all c.
func sse(c byte, prefix string) head {
	key := bytes.Repeat([]byte{c}, 32)
	sum := md5.Sum(key)
	return head{
		prefix + "server-side-encryption-customer-algorithm", "AES256",
		prefix + "server-side-encryption-customer-key", base64.StdEncoding.EncodeToString(key),
		prefix + "server-side-encryption-customer-key-md5", base64.StdEncoding.EncodeToString(sum[:]),
	}
}

// stored is what lies in the store.
func (w *world) stored(bucket, key string) string {
	w.t.Helper()
	b, err := w.store.Bucket(w.t.Context(), bucket)
	if err != nil {
		w.t.Fatal(err)
	}
	o, err := b.Open(w.t.Context(), key, storage.ReadOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer o.Close()
	var out strings.Builder
	if _, err := storage.Reader(o, 0, o.Info().Size).WriteTo(&out); err != nil {
		w.t.Fatal(err)
	}
	return out.String()
}

const secretText = "what nobody who takes the disk may read"

func TestCustomerKey(t *testing.T) {
	w := newWorld(t) // a client's key needs none of the server's
	w.ok(w.main("PUT", "/box", ""))
	a, b := sse('a', "x-amz-"), sse('b', "x-amz-")
	r := w.ok(w.main("PUT", "/box/k", secretText, a...))
	if r.Header.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != "AES256" || !strings.Contains(r.Header.Get("Etag"), "-") {
		t.Errorf("the answer's head is %v", r.Header)
	}
	if got := w.stored("box", "k"); len(got) != len(secretText) || strings.Contains(got, "nobody") {
		t.Errorf("stored is %q", got)
	}
	if r := w.ok(w.main("GET", "/box/k", "", a...)); string(r.body) != secretText || r.Header.Get("X-Amz-Server-Side-Encryption-Customer-Key-Md5") == "" {
		t.Errorf("got %q", r.body)
	}
	if r := w.want(w.main("GET", "/box/k", "", append(a, "Range", "bytes=5-10")...), 206, ""); string(r.body) != secretText[5:11] {
		t.Errorf("a range is %q", r.body)
	}
	w.ok(w.main("HEAD", "/box/k", "", a...))
	for _, method := range []string{"GET", "HEAD"} {
		w.want(w.main(method, "/box/k", ""), 400, "")
		w.want(w.main(method, "/box/k", "", b...), 400, "")
	}
	w.want(w.as("ALT", "GET", "/box/k", nil, nil), 403, "AccessDenied")
	w.ok(w.main("PUT", "/box/plain", "x"))
	w.want(w.main("GET", "/box/plain", "", a...), 400, "InvalidRequest")

	// a copy with another key, and one without
	from := append(sse('a', "x-amz-copy-source-"), "x-amz-copy-source", "/box/k")
	w.want(w.main("PUT", "/box/copy", "", "x-amz-copy-source", "/box/k"), 400, "InvalidRequest")
	w.ok(w.main("PUT", "/box/copy", "", append(from, b...)...))
	if r := w.ok(w.main("GET", "/box/copy", "", b...)); string(r.body) != secretText {
		t.Errorf("got %q", r.body)
	}
	w.ok(w.main("PUT", "/box/open", "", from...))
	if r := w.ok(w.main("GET", "/box/open", "")); string(r.body) != secretText {
		t.Errorf("got %q", r.body)
	}

	for name, h := range map[string]head{
		"no algorithm":    a[2:],
		"other algorithm": append(head{a[0], "AES128"}, a[2:]...),
		"no key":          append(a[:2:2], a[4:]...),
		"no MD5":          a[:4],
		"other MD5":       append(a[:4:4], b[4:]...),
		"short key":       append(append(a[:2:2], a[2], "YQ=="), a[4:]...),
		"two kinds":       append(a[:6:6], "x-amz-server-side-encryption", "AES256"),
	} {
		t.Run(name, func(t *testing.T) {
			w.want(w.main("PUT", "/box/bad", "x", h...), 400, "")
			w.want(w.main("GET", "/box/bad", ""), 404, "NoSuchKey")
		})
	}
}

func TestCustomerParts(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	a, b := sse('a', "x-amz-"), sse('b', "x-amz-")
	var u struct{ UploadId string }
	if err := xml.Unmarshal(w.ok(w.main("POST", "/box/k?uploads", "", a...)).body, &u); err != nil {
		t.Fatal(err)
	}
	part := func(n int, body string, h head) *reply {
		return w.main("PUT", fmt.Sprintf("/box/k?partNumber=%d&uploadId=%s", n, u.UploadId), body, h...)
	}
	first := strings.Repeat("0123456789", storage.PartBytesMin/10)
	w.want(part(1, first, b), 400, "InvalidRequest")
	w.want(part(1, first, nil), 400, "InvalidRequest")
	tag1 := w.ok(part(1, first, a)).Header.Get("Etag")
	tag2 := w.ok(part(2, secretText, a)).Header.Get("Etag")
	w.ok(w.main("POST", "/box/k?uploadId="+u.UploadId, "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"+tag1+
		"</ETag></Part><Part><PartNumber>2</PartNumber><ETag>"+tag2+"</ETag></Part></CompleteMultipartUpload>"))
	if r := w.ok(w.main("GET", "/box/k", "", a...)); string(r.body) != first+secretText {
		t.Error("other bytes came back")
	}
	across := head{"Range", fmt.Sprintf("bytes=%d-%d", len(first)-5, len(first)+3)}
	if r := w.want(w.main("GET", "/box/k", "", append(across, a...)...), 206, ""); string(r.body) != "56789what" {
		t.Errorf("across the parts lies %q", r.body)
	}
	w.want(w.main("GET", "/box/k", "", b...), 400, "InvalidRequest")
}

func TestServerKeys(t *testing.T) {
	w := sealedWorld(t)
	const kind, id = "X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
	w.ok(w.main("PUT", "/box", ""))
	check := func(r *reply, wantKind, wantID string) {
		t.Helper()
		if k, i := w.ok(r).Header.Get(kind), r.Header.Get(id); k != wantKind || i != wantID {
			t.Errorf("%s %s: encrypted by %q, %q", r.Request.Method, r.Request.URL, k, i)
		}
	}
	check(w.main("PUT", "/box/a", secretText, kind, "AES256"), "AES256", "")
	check(w.main("PUT", "/box/b", secretText, kind, "aws:kms", id, "other"), "aws:kms", "other")
	check(w.main("PUT", "/box/c", secretText), "", "")
	config := func(how string) string {
		return "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>" + how + "</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
	}
	w.ok(w.main("PUT", "/box?encryption", config("<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>other</KMSMasterKeyID>")))
	check(w.main("PUT", "/box/d", secretText), "aws:kms", "other")
	w.ok(w.main("PUT", "/box?encryption", config("<SSEAlgorithm>AES256</SSEAlgorithm>")))
	check(w.main("PUT", "/box/e", secretText), "AES256", "")
	check(w.main("PUT", "/box/f", "", "x-amz-copy-source", "/box/b"), "AES256", "")
	check(w.main("POST", "/box/g?uploads", ""), "AES256", "")
	for key, k := range map[string]string{"a": "AES256", "b": "aws:kms", "c": "", "d": "aws:kms", "e": "AES256", "f": "AES256"} {
		r := w.ok(w.main("GET", "/box/"+key, ""))
		if string(r.body) != secretText || r.Header.Get(kind) != k {
			t.Errorf("%s: %q by %q", key, r.body, r.Header.Get(kind))
		}
		if plain := w.stored("box", key) == secretText; plain != (k == "") {
			t.Errorf("%s lies there in plain text: %v", key, plain)
		}
	}
	w.want(w.main("GET", "/box/a", "", kind, "AES256"), 400, "InvalidArgument")
	w.want(w.main("PUT", "/box/x", "x", kind, "aws:kms", id, "none"), 400, "KMS.NotFoundException")
	w.want(w.main("PUT", "/box/x", "x", kind, "DES"), 400, "InvalidArgument")
	w.want(w.main("PUT", "/box/x", "x", id, "other"), 400, "InvalidArgument")
	n := newWorld(t)
	n.ok(n.main("PUT", "/box", ""))
	n.want(n.main("PUT", "/box/x", "x", kind, "AES256"), 501, "NotImplemented")
	n.want(n.main("PUT", "/box?encryption", config("<SSEAlgorithm>AES256</SSEAlgorithm>")), 501, "NotImplemented")
}

func TestSealedDigests(t *testing.T) {
	w := sealedWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	sum := md5.Sum([]byte(secretText))
	good := base64.StdEncoding.EncodeToString(sum[:])
	w.ok(w.main("PUT", "/box/k", secretText, "x-amz-server-side-encryption", "AES256", "Content-MD5", good))
	w.want(w.main("PUT", "/box/k2", secretText+"!", "x-amz-server-side-encryption", "AES256", "Content-MD5", good), 400, "BadDigest")
	tag := w.ok(w.main("HEAD", "/box/k", "")).Header.Get("Etag")
	w.want(w.main("GET", "/box/k", "", "If-None-Match", tag), 304, "")
	r := w.ok(w.main("PUT", "/box/k", secretText, "x-amz-server-side-encryption", "AES256", "x-amz-checksum-algorithm", "CRC32", "x-amz-sdk-checksum-algorithm", "CRC32"))
	if r.Header.Get("X-Amz-Checksum-Crc32") == "" {
		t.Errorf("no checksum: %v", r.Header)
	}
}

func TestSealedForm(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	a := sse('a', "x-amz-")
	conditions := []any{map[string]string{"bucket": "box"}, []any{"starts-with", "$key", ""}}
	fields := []string{"key", "k"}
	for i := 0; i < len(a); i += 2 {
		conditions = append(conditions, []any{"eq", "$" + a[i], a[i+1]})
		fields = append(fields, a[i], a[i+1])
	}
	b, err := json.Marshal(map[string]any{"expiration": inAnHour.UTC().Format(time.RFC3339), "conditions": conditions})
	if err != nil {
		t.Fatal(err)
	}
	s := sigv4.Signer{AccessKey: "MAIN", Secret: secretOf("MAIN"), Region: "us-east-1"}
	w.want(w.post("/box", s.SignForm2(base64.StdEncoding.EncodeToString(b)), secretText, fields...), 204, "")
	if r := w.ok(w.main("GET", "/box/k", "", a...)); string(r.body) != secretText {
		t.Errorf("got %q", r.body)
	}
	w.want(w.main("GET", "/box/k", ""), 400, "InvalidRequest")
}
