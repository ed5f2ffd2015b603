package sigv4

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What the payload's hash may be instead of a hash.
const (
	Unsigned        = "UNSIGNED-PAYLOAD"
	Stream          = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	StreamTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	UnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	// Empty is the hash of no bytes.
	Empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

const (
	algorithm = "AWS4-HMAC-SHA256"
	longDate  = "20060102T150405Z"
	shortDate = "20060102"
	// SkewMax is how far a request's time may be from the server's.
	SkewMax = 15 * time.Minute
	// ExpiryMax is how long a presigned request may be valid.
	ExpiryMax = 7 * 24 * time.Hour
)

// Request is what signatures are over.
type Request struct {
	*http.Request
	Query Query
	// Bucket is the one that the host names, "" where the path does. Version 2 signs it.
	Bucket string
}

// Auth is what a request says of who signed it, and how. It proves nothing until Verify.
type Auth struct {
	AccessKey string
	// Presigned says that the query authorises, and Expires when it ceases to.
	Presigned bool
	Expires   time.Time
	// Time is the request's own.
	Time time.Time
	// Payload is what x-amz-content-sha256 says: a hash, or one of the words above; ""
	// where nothing is said, or in Version 2.
	Payload string

	day, region, service string
	signed               []string // names of signed headers, lower-case
	signature            string
	two                  bool

	key [32]byte // derived, once verified
}

// Parse reads what a request says. It returns nil for one that says nothing, which is
// anonymous.
func Parse(r Request) (*Auth, error) {
	four := r.Query.Has("X-Amz-Signature") || r.Query.Has("X-Amz-Algorithm") || r.Query.Has("X-Amz-Credential")
	two := r.Query.Has("AWSAccessKeyId") && r.Query.Has("Signature")
	if vals, ok := r.Header["Authorization"]; ok {
		switch {
		case four || two:
			return nil, fmt.Errorf("%w: only one auth mechanism allowed; the header and the query have one each", ErrUnsupported)
		case len(vals) > 1:
			return nil, fmt.Errorf("%w: there are several Authorization headers", ErrUnsupported)
		case strings.TrimSpace(vals[0]) == "":
			return nil, ErrAbsent
		}
		return parseHeader(r, vals[0])
	}
	switch {
	case four:
		return parseQuery(r)
	case two:
		return parseQuery2(r)
	}
	return nil, nil
}

func parseHeader(r Request, h string) (*Auth, error) {
	kind, rest, _ := strings.Cut(h, " ")
	switch kind {
	case algorithm:
	case "AWS":
		return parseHeader2(r, strings.TrimSpace(rest))
	default:
		return nil, fmt.Errorf("%w: use %s", ErrUnsupported, algorithm)
	}
	a := &Auth{Payload: r.Header.Get("X-Amz-Content-Sha256")}
	var credential, signed string
	for field := range strings.SplitSeq(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch k {
		case "Credential":
			credential = v
		case "SignedHeaders":
			signed = v
		case "Signature":
			a.signature = v
		}
	}
	if credential == "" || signed == "" || a.signature == "" {
		return nil, fmt.Errorf("%w: it needs Credential, SignedHeaders and Signature", ErrMalformed)
	}
	if err := a.scope(credential); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	a.signed = strings.Split(signed, ";")
	var err error
	if a.Time, err = headerTime(r.Header); err != nil {
		return nil, err
	}
	if a.Time.Format(shortDate) != a.day {
		return nil, fmt.Errorf("%w: the credential is of day %s and the request of %s", ErrMalformed, a.day, a.Time.Format(shortDate))
	}
	return a, nil
}

// scope reads KEY/DAY/REGION/SERVICE/aws4_request. A key may hold slashes.
func (a *Auth) scope(credential string) error {
	f := strings.Split(credential, "/")
	n := len(f)
	if n < 5 || f[n-1] != "aws4_request" {
		return fmt.Errorf("the credential must be KEY/DAY/REGION/SERVICE/aws4_request")
	}
	a.AccessKey = strings.Join(f[:n-4], "/")
	a.day, a.region, a.service = f[n-4], f[n-3], f[n-2]
	if a.service != "s3" {
		return fmt.Errorf("the credential is for service %q, not s3", a.service)
	}
	if _, err := time.Parse(shortDate, a.day); err != nil {
		return fmt.Errorf("the credential's day %q is not YYYYMMDD", a.day)
	}
	return nil
}

// headerTime is what X-Amz-Date says, or Date.
func headerTime(h http.Header) (time.Time, error) {
	v, kind := h.Get("X-Amz-Date"), "X-Amz-Date"
	if h["X-Amz-Date"] == nil {
		v, kind = h.Get("Date"), "Date"
	}
	if v == "" {
		return time.Time{}, fmt.Errorf("%w: %s is empty; send X-Amz-Date", ErrDate, kind)
	}
	if t, err := time.Parse(longDate, v); err == nil {
		return t, nil
	}
	for _, form := range []string{http.TimeFormat, time.RFC1123Z, time.RFC850, time.ANSIC, "Mon, _2 Jan 2006 15:04:05 -0700"} {
		if t, err := time.Parse(form, v); err == nil && t.Unix() >= 0 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%w: %q is not of the form YYYYMMDDTHHMMSSZ", ErrDate, v)
}

func parseQuery(r Request) (*Auth, error) {
	bad := func(why string) (*Auth, error) { return nil, fmt.Errorf("%w: %s", ErrQuery, why) }
	q := r.Query
	a := &Auth{Presigned: true, signature: q.Get("X-Amz-Signature"), Payload: q.Get("X-Amz-Content-Sha256")}
	if q.Get("X-Amz-Algorithm") != algorithm {
		return bad("X-Amz-Algorithm must be " + algorithm)
	}
	for _, k := range []string{"X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"} {
		if q.Get(k) == "" {
			return bad(k + " is missing")
		}
	}
	if err := a.scope(q.Get("X-Amz-Credential")); err != nil {
		return bad(err.Error())
	}
	var err error
	if a.Time, err = time.Parse(longDate, q.Get("X-Amz-Date")); err != nil {
		return bad("X-Amz-Date must be of the form YYYYMMDDTHHMMSSZ")
	}
	if a.Time.Format(shortDate) != a.day {
		return bad("X-Amz-Date is of another day than X-Amz-Credential")
	}
	seconds, err := strconv.ParseInt(q.Get("X-Amz-Expires"), 10, 64)
	if err != nil || seconds < 1 || seconds > int64(ExpiryMax/time.Second) {
		return nil, fmt.Errorf("%w: X-Amz-Expires must be 1 to %d seconds", ErrExpired, ExpiryMax/time.Second)
	}
	a.Expires = a.Time.Add(time.Duration(seconds) * time.Second)
	a.signed = strings.Split(q.Get("X-Amz-SignedHeaders"), ";")
	if a.Payload == "" && a.covers("x-amz-content-sha256") {
		a.Payload = r.Header.Get("X-Amz-Content-Sha256")
	}
	if a.Payload == "" {
		a.Payload = Unsigned
	}
	return a, nil
}

// Version is how logs name the kind of signature: SigV4 or SigV2.
func (a *Auth) Version() string {
	if a.two {
		return "SigV2"
	}
	return "SigV4"
}

func (a *Auth) covers(name string) bool { return slices.Contains(a.signed, name) }

// Verify proves that whoever signed has the secret, and meant this request at about now.
// The body is not looked at: its hash, where there is one, is Payload.
func (a *Auth) Verify(r Request, secret string, now time.Time, keys *Keys) error {
	if err := a.timely(now); err != nil {
		return err
	}
	if a.two {
		return a.verify2(r, secret)
	}
	if err := a.complete(r); err != nil {
		return err
	}
	a.key = keys.derive(a.AccessKey, secret, a.day, a.region, a.service)
	leave := ""
	if a.Presigned {
		leave = "X-Amz-Signature"
	}
	want := sign(&a.key, a.Time, a.day, a.region, a.service, canonicalHash(r, a.signed, a.Payload, leave))
	if subtle.ConstantTimeCompare([]byte(want), []byte(a.signature)) != 1 {
		return fmt.Errorf("%w: check the secret key and the way the request is signed", ErrSignature)
	}
	return nil
}

func (a *Auth) timely(now time.Time) error {
	switch skew := a.Time.Sub(now); {
	case a.two && a.Presigned: // has no time of its own
	case a.Presigned && skew > SkewMax:
		return fmt.Errorf("%w: it is signed for the future", ErrExpired)
	case !a.Presigned && skew.Abs() > SkewMax:
		return fmt.Errorf("%w: it is of %s, and here it is %s; set the clock", ErrSkew, a.Time.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if a.Presigned && !now.Before(a.Expires) {
		return fmt.Errorf("%w: it was valid until %s", ErrExpired, a.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}

// free are headers that the string to sign holds in another way, or that say nothing.
var free = []string{"X-Amz-Content-Sha256", "X-Amz-Date", "X-Amz-User-Agent"}

// complete refuses a request with headers that act and are not signed: whoever passes a
// presigned URL on could add them.
func (a *Auth) complete(r Request) error {
	if !a.covers("host") {
		return fmt.Errorf("%w: sign host", ErrUnsigned)
	}
	for k := range r.Header {
		acts := strings.HasPrefix(k, "X-Amz-") || strings.HasPrefix(k, "X-Polder-")
		if acts && !slices.Contains(free, k) && !a.coversFold(k) {
			return fmt.Errorf("%w: sign %s or leave it out", ErrUnsigned, strings.ToLower(k))
		}
	}
	return nil
}

// CoversParam says that a parameter of the query could not have been added by somebody
// else. Of a URL that Version 2 presigned that holds for some parameters only.
func (a *Auth) CoversParam(name string) bool {
	return !a.two || !a.Presigned || slices.Contains(named, name)
}

func (a *Auth) coversFold(name string) bool {
	return slices.ContainsFunc(a.signed, func(s string) bool { return strings.EqualFold(s, name) })
}
