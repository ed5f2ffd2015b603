package sigv4

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Version 2 ("Signing and authenticating REST requests" in the Amazon S3 developer
// guide). Old clients still use it.

func parseHeader2(r Request, rest string) (*Auth, error) {
	i := strings.LastIndex(rest, ":") // a key may hold colons
	if i <= 0 {
		return nil, fmt.Errorf("%w: after AWS come KEY:SIGNATURE", ErrUnsupported)
	}
	t, err := headerTime(r.Header)
	if err != nil {
		return nil, err
	}
	return &Auth{AccessKey: rest[:i], signature: rest[i+1:], Time: t, two: true}, nil
}

func parseQuery2(r Request) (*Auth, error) {
	seconds, err := strconv.ParseInt(r.Query.Get("Expires"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: Expires must be seconds since 1970", ErrExpired)
	}
	return &Auth{
		AccessKey: r.Query.Get("AWSAccessKeyId"), signature: r.Query.Get("Signature"),
		Presigned: true, Expires: time.Unix(seconds, 0), two: true,
	}, nil
}

func (a *Auth) verify2(r Request, secret string) error {
	for k := range r.Header {
		if a.Presigned && strings.HasPrefix(k, "X-Polder-") {
			return fmt.Errorf("%w: leave %s out", ErrUnsigned, strings.ToLower(k))
		}
	}
	if subtle.ConstantTimeCompare([]byte(sign2(r, secret, a.Presigned)), []byte(a.signature)) != 1 {
		return fmt.Errorf("%w: check the secret key and the way the request is signed", ErrSignature)
	}
	return nil
}

// Sign2 adds an Authorization header of Version 2.
func (s Signer) Sign2(r *http.Request, bucket string, now time.Time) error {
	q, err := ParseQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	r.Header.Set("Date", now.UTC().Format(http.TimeFormat))
	r.Header.Set("Authorization", "AWS "+s.AccessKey+":"+sign2(Request{Request: r, Query: q, Bucket: bucket}, s.Secret, false))
	return nil
}

// Presign2 is the signature of a URL that is valid until a time in seconds since 1970.
func (s Signer) Presign2(method, path, expires string) string {
	r := &http.Request{Method: method, Header: http.Header{}, URL: &url.URL{Path: path}}
	return sign2(Request{Request: r, Query: Query{{"Expires", expires}}}, s.Secret, true)
}

func sign2(r Request, secret string, presigned bool) string {
	date := r.Header.Get("Date")
	switch {
	case presigned:
		date = r.Query.Get("Expires")
	case r.Header.Get("X-Amz-Date") != "":
		date = ""
	}
	var b strings.Builder
	for _, s := range []string{r.Method, r.Header.Get("Content-Md5"), r.Header.Get("Content-Type"), date} {
		b.WriteString(s + "\n")
	}
	var names []string
	for k := range r.Header {
		if strings.HasPrefix(k, "X-Amz-") {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	for _, k := range names {
		b.WriteString(strings.ToLower(k) + ":")
		for i, v := range r.Header[k] {
			if i > 0 {
				b.WriteString(",")
			}
			b.Write(appendValue(nil, v))
		}
		b.WriteString("\n")
	}
	resource(&b, r)
	h := hmac.New(sha1.New, []byte(secret))
	_, _ = h.Write([]byte(b.String())) // a hash never fails
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// named are the parameters that Version 2 signs.
var named = []string{
	"accelerate", "acl", "analytics", "cors", "defaultObjectAcl", "delete", "inventory", "lifecycle", "location", "logging", "metrics",
	"notification", "object-lock", "partNumber", "policy", "replication", "requestPayment", "response-cache-control",
	"response-content-disposition", "response-content-encoding", "response-content-language", "response-content-type",
	"response-expires", "restore", "select", "select-type", "storageClass", "tagging", "torrent", "uploadId", "uploads", "versionId",
	"versioning", "versions", "website",
}

func resource(b *strings.Builder, r Request) {
	if r.Bucket != "" {
		b.WriteString("/" + r.Bucket)
	}
	b.WriteString(r.URL.EscapedPath())
	var pairs []string
	for _, p := range r.Query {
		if !slices.Contains(named, p.Key) {
			continue
		}
		if p.Value == "" {
			pairs = append(pairs, p.Key)
		} else {
			pairs = append(pairs, p.Key+"="+p.Value)
		}
	}
	slices.Sort(pairs)
	for i, p := range pairs {
		if i == 0 {
			b.WriteString("?" + p)
		} else {
			b.WriteString("&" + p)
		}
	}
}
