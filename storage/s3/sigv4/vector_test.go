package sigv4

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The examples of the S3 API Reference ("Examples: Signature Calculations in AWS
// Signature Version 4"), all of one day and key.
const (
	exampleKey    = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	exampleHost   = "examplebucket.s3.amazonaws.com"
)

var exampleTime = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)

func example(t *testing.T, method, target string, headers ...string) Request {
	t.Helper()
	r, err := http.NewRequest(method, "https://"+exampleHost+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	q, err := ParseQuery(r.URL.RawQuery)
	if err != nil {
		t.Fatal(err)
	}
	return Request{Request: r, Query: q}
}

func auth(signed, signature string) string {
	return "AWS4-HMAC-SHA256 Credential=" + exampleKey + "/20130524/us-east-1/s3/aws4_request,SignedHeaders=" + signed + ",Signature=" + signature
}

func TestVectors(t *testing.T) {
	date := []string{"X-Amz-Date", "20130524T000000Z"}
	empty := []string{"X-Amz-Content-Sha256", Empty}
	for _, c := range []struct {
		name string
		r    Request
	}{
		{"get object", example(t, "GET", "/test.txt", append(append(date, empty...), "Range", "bytes=0-9", "Authorization",
			auth("host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"))...)},
		{"put object", example(t, "PUT", "/test$file.text", append(date, "Date", "Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Storage-Class", "REDUCED_REDUNDANCY",
			"X-Amz-Content-Sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072", "Authorization",
			auth("date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"))...)},
		{"bucket lifecycle", example(t, "GET", "/?lifecycle", append(append(date, empty...), "Authorization",
			auth("host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"))...)},
		{"list objects", example(t, "GET", "/?max-keys=2&prefix=J", append(append(date, empty...), "Authorization",
			auth("host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"))...)},
		{"presigned", example(t, "GET", "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"+
			"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")},
	} {
		var keys Keys
		a, err := Parse(c.r)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for range 2 { // the second time with a key from the cache
			if err := a.Verify(c.r, exampleSecret, exampleTime.Add(time.Minute), &keys); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if err := a.Verify(c.r, "another secret", exampleTime, &keys); !errors.Is(err, ErrSignature) {
			t.Errorf("%s with another secret: %v", c.name, err)
		}
		c.r.URL.Path += "x"
		if err := a.Verify(c.r, exampleSecret, exampleTime, &keys); !errors.Is(err, ErrSignature) {
			t.Errorf("%s of another object: %v", c.name, err)
		}
	}
}

// TestVectorChunked is the example of "Transferring Payload in Multiple Chunks".
func TestVectorChunked(t *testing.T) {
	r := example(t, "PUT", "/examplebucket/chunkObject.txt", "X-Amz-Date", "20130524T000000Z", "X-Amz-Storage-Class", "REDUCED_REDUNDANCY",
		"X-Amz-Content-Sha256", Stream, "Content-Encoding", "aws-chunked", "X-Amz-Decoded-Content-Length", "66560", "Content-Length", "66824",
		"Authorization", auth("content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
			"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"))
	r.Host = "s3.amazonaws.com"
	a, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Verify(r, exampleSecret, exampleTime, &Keys{}); err != nil {
		t.Fatal(err)
	}
	body := "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + strings.Repeat("a", 65536) +
		"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + strings.Repeat("a", 1024) +
		"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
	c, err := Chunked(a, a.Payload, strings.NewReader(body), 66560, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, bytes.Repeat([]byte("a"), 66560)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestVectors2(t *testing.T) {
	for _, c := range []struct {
		method, target, date, signature string
		headers                         []string
	}{
		{"GET", "/photos/puppy.jpg", "Tue, 27 Mar 2007 19:36:42 +0000", "bWq2s1WEIj+Ydj0vQ697zp+IXMU=", nil},
		{"PUT", "/photos/puppy.jpg", "Tue, 27 Mar 2007 21:15:45 +0000", "MyyxeRY7whkBe+bq8fHCL/2kKUg=", []string{"Content-Type", "image/jpeg"}},
		{"GET", "/?prefix=photos&max-keys=50&marker=puppy", "Tue, 27 Mar 2007 19:42:41 +0000", "htDYFYduRNen8P9ZfE/s9SuKy0U=", nil},
		{"GET", "/?acl", "Tue, 27 Mar 2007 19:44:46 +0000", "c2WLPFtWHVgbEmeEG93a4cG37dM=", nil},
	} {
		r := example(t, c.method, c.target, append(c.headers, "Date", c.date, "Authorization", "AWS "+exampleKey+":"+c.signature)...)
		r.Bucket = "johnsmith"
		a, err := Parse(r)
		if err != nil {
			t.Errorf("%s %s: %v", c.method, c.target, err)
			continue
		}
		if err := a.Verify(r, exampleSecret, a.Time, nil); err != nil {
			t.Errorf("%s %s: %v", c.method, c.target, err)
		}
		if err := a.Verify(r, "another", a.Time, nil); !errors.Is(err, ErrSignature) {
			t.Errorf("%s %s with another secret: %v", c.method, c.target, err)
		}
	}
}
