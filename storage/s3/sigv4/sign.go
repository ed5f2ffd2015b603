package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// keysMax bounds the cache: a key for each access key, day and region that was used.
const keysMax = 4096

// Keys remembers derived signing keys. The zero value is ready; its methods may be called
// at once.
type Keys struct {
	mu  sync.RWMutex
	all map[keyOf]derived
}

type keyOf struct{ accessKey, day, region, service string }

type derived struct {
	secret string
	key    [32]byte
}

func (k *Keys) derive(accessKey, secret, day, region, service string) [32]byte {
	of := keyOf{accessKey, day, region, service}
	k.mu.RLock()
	d, ok := k.all[of]
	k.mu.RUnlock()
	if ok && d.secret == secret {
		return d.key
	}
	d = derived{secret, deriveKey(secret, day, region, service)}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.all == nil || len(k.all) >= keysMax {
		k.all = map[keyOf]derived{}
	}
	k.all[of] = d
	return d.key
}

func deriveKey(secret, day, region, service string) [32]byte {
	k := mac([]byte("AWS4"+secret), day)
	k = mac(k[:], region)
	k = mac(k[:], service)
	return mac(k[:], "aws4_request")
}

func mac(key []byte, s string) (out [32]byte) {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(s)) // a hash never fails
	h.Sum(out[:0])
	return out
}

var texts = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// canonicalHash is the hash of the canonical request.
func canonicalHash(r Request, signed []string, payload, leave string) [32]byte {
	p := texts.Get().(*[]byte)
	defer texts.Put(p)
	b := append((*p)[:0], r.Method...)
	b = append(b, '\n')
	if r.URL.Path == "" {
		b = append(b, '/')
	}
	b = Encode(b, r.URL.Path, true)
	b = append(b, '\n')
	b = r.Query.canonical(b, leave)
	b = append(b, '\n')
	for _, name := range signed {
		b = append(b, name...)
		b = append(b, ':')
		b = appendHeader(b, r, name)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	for i, name := range signed {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, name...)
	}
	b = append(b, '\n')
	b = append(b, payload...)
	*p = b
	return sha256.Sum256(b)
}

// appendHeader appends a header's values as they are signed. Some of them net/http keeps
// elsewhere.
func appendHeader(b []byte, r Request, name string) []byte {
	switch name {
	case "host":
		if r.Host == "" {
			return append(b, r.URL.Host...)
		}
		return append(b, r.Host...)
	case "content-length":
		if r.Header["Content-Length"] == nil {
			return strconv.AppendInt(b, max(r.ContentLength, 0), 10)
		}
	case "transfer-encoding":
		return append(b, strings.Join(r.TransferEncoding, ",")...)
	}
	for i, v := range r.Header[http.CanonicalHeaderKey(name)] {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendValue(b, v)
	}
	return b
}

// appendValue trims a value and makes one space of several.
func appendValue(b []byte, v string) []byte {
	v = strings.Trim(v, " \t")
	if !strings.Contains(v, "  ") && !strings.Contains(v, "\t") {
		return append(b, v...)
	}
	for i, f := range strings.Fields(v) {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, f...)
	}
	return b
}

func appendScope(b []byte, day, region, service string) []byte {
	for _, s := range []string{day, region, service} {
		b = append(b, s...)
		b = append(b, '/')
	}
	return append(b, "aws4_request"...)
}

func sign(key *[32]byte, t time.Time, day, region, service string, canonical [32]byte) string {
	b := make([]byte, 0, 192)
	b = append(b, algorithm+"\n"...)
	b = t.UTC().AppendFormat(b, longDate)
	b = append(b, '\n')
	b = appendScope(b, day, region, service)
	b = append(b, '\n')
	b = hex.AppendEncode(b, canonical[:])
	return macHex(key, b)
}

func macHex(key *[32]byte, text []byte) string {
	h := hmac.New(sha256.New, key[:])
	_, _ = h.Write(text) // a hash never fails
	var sum [32]byte
	var out [64]byte
	hex.Encode(out[:], h.Sum(sum[:0]))
	return string(out[:])
}

// Signer signs requests as a client does.
type Signer struct {
	AccessKey, Secret, Region string
	// Keys may be set, for a client that signs often.
	Keys *Keys
}

func (s Signer) key(day string) [32]byte {
	if s.Keys != nil {
		return s.Keys.derive(s.AccessKey, s.Secret, day, s.Region, "s3")
	}
	return deriveKey(s.Secret, day, s.Region, "s3")
}

// Sign adds an Authorization header. payload is the body's SHA-256 or one of the words
// that stand for it. All headers that are set are signed.
func (s Signer) Sign(r *http.Request, payload string, now time.Time) error {
	now = now.UTC()
	r.Header.Set("X-Amz-Date", now.Format(longDate))
	r.Header.Set("X-Amz-Content-Sha256", payload)
	q, err := ParseQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	names := signedNames(r.Header)
	day := now.Format(shortDate)
	key := s.key(day)
	sig := sign(&key, now, day, s.Region, "s3", canonicalHash(Request{Request: r, Query: q}, names, payload, ""))
	scope := appendScope(nil, day, s.Region, "s3")
	r.Header.Set("Authorization", algorithm+" Credential="+s.AccessKey+"/"+string(scope)+
		", SignedHeaders="+strings.Join(names, ";")+", Signature="+sig)
	return nil
}

// Presign makes the query authorise for as long as valid says.
func (s Signer) Presign(r *http.Request, valid time.Duration, now time.Time) error {
	now = now.UTC()
	q, err := ParseQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	names := signedNames(r.Header)
	day := now.Format(shortDate)
	q = append(q, Param{"X-Amz-Algorithm", algorithm},
		Param{"X-Amz-Credential", s.AccessKey + "/" + string(appendScope(nil, day, s.Region, "s3"))},
		Param{"X-Amz-Date", now.Format(longDate)},
		Param{"X-Amz-Expires", strconv.Itoa(int(valid / time.Second))},
		Param{"X-Amz-SignedHeaders", strings.Join(names, ";")})
	key := s.key(day)
	sig := sign(&key, now, day, s.Region, "s3", canonicalHash(Request{Request: r, Query: q}, names, Unsigned, ""))
	r.URL.RawQuery = string(append(Query(q).canonical(nil, ""), "&X-Amz-Signature="+sig...))
	return nil
}

// signedNames are the headers that a client signs: all but those that others may change.
func signedNames(h http.Header) []string {
	names := []string{"host"}
	for k := range h {
		switch k {
		case "Authorization", "User-Agent", "Accept-Encoding", "Expect", "Connection", "Host":
		default:
			names = append(names, strings.ToLower(k))
		}
	}
	slices.Sort(names)
	return names
}
