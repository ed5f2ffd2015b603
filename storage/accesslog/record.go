package accesslog

import (
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"time"

	"polder.dev/polder/storage/iam"
)

// Record is what a line tells of one request. What is "" or 0 is told as "-", unless its
// comment says otherwise.
type Record struct {
	// Owner and Bucket are filled in by Log.Add.
	Owner, Bucket string
	// Time is when the request came.
	Time      time.Time
	RemoteIP  string
	Requester string
	RequestID string
	// Operation is PROTOCOL.METHOD.RESOURCE: REST.GET.OBJECT, WEBSITE.GET.OBJECT,
	// SWIFT.PUT.OBJECT, BATCH.DELETE.OBJECT.
	Operation string
	Key       string
	// RequestLine is the method, the address and the version, without secrets.
	RequestLine string
	Status      int
	ErrorCode   string
	// Sent is how many bytes of body were answered.
	Sent int64
	// Size of the object, Total time and Turn, from the last byte of the request to the
	// first of the answer: below 0 is not known, and 0 is told as 0.
	Size        int64
	Total, Turn time.Duration
	Referer     string
	UserAgent   string
	Version     string // that the request names
	HostID      string
	Signature   string // SigV2, SigV4
	Cipher      string
	AuthType    string // AuthHeader, QueryString
	Host        string
	TLS         string
	// ByACL says that nothing but an ACL allowed the request.
	ByACL bool
}

// Of begins a Record with what HTTP itself tells. Its size and its times are not known.
func Of(r *http.Request) Record {
	out := Record{RemoteIP: r.RemoteAddr, Referer: Redact(r.Referer()), UserAgent: r.UserAgent(), Host: r.Host, Size: -1, Total: -1, Turn: -1}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		out.RemoteIP = host
	}
	uri := r.RequestURI
	if uri == "" { // one that no client sent
		uri = r.URL.RequestURI()
	}
	out.RequestLine = r.Method + " " + Redact(uri) + " " + r.Proto
	if r.TLS != nil {
		out.Cipher, out.TLS = tls.CipherSuiteName(r.TLS.CipherSuite), versions[r.TLS.Version]
	}
	return out
}

var versions = map[uint16]string{tls.VersionTLS10: "TLSv1", tls.VersionTLS11: "TLSv1.1", tls.VersionTLS12: "TLSv1.2", tls.VersionTLS13: "TLSv1.3"}

// Requester is who asks, as policies name them: the ARN of a user, or an account. Nobody is "".
func Requester(who iam.Identity) string {
	if who.Anonymous() || who.User == "" {
		return who.Account
	}
	return "arn:aws:iam::" + who.Account + ":user/" + who.User
}

// textBytesMax bounds each of the texts that only HTTP bounds.
const textBytesMax = 8 << 10

// append adds the line. Amazon may add fields at the end, and readers must expect that; the
// last three are of access points, ACLs and the region a request comes from.
func (r *Record) append(b []byte) []byte {
	b = field(b, r.Owner)
	b = field(b, r.Bucket)
	b = r.Time.UTC().AppendFormat(b, "[02/Jan/2006:15:04:05 -0700] ")
	for _, s := range []string{r.RemoteIP, r.Requester, r.RequestID, r.Operation, r.Key} {
		b = field(b, s)
	}
	b = quoted(b, r.RequestLine)
	b = number(b, int64(r.Status), 1)
	b = field(b, r.ErrorCode)
	b = number(b, r.Sent, 1)
	b = number(b, r.Size, 0)
	b = millis(b, r.Total)
	b = millis(b, r.Turn)
	b = quoted(b, r.Referer)
	b = quoted(b, r.UserAgent)
	acl := ""
	if r.ByACL {
		acl = "Yes"
	}
	for _, s := range []string{r.Version, r.HostID, r.Signature, r.Cipher, r.AuthType, r.Host, r.TLS, "", acl, ""} {
		b = field(b, s)
	}
	b[len(b)-1] = '\n' // in place of the last space
	return b
}

// field adds a text without spaces: whatever would end it, and what is not ASCII, is written
// as in a URL. A text that would read as none is written so as well.
func field(b []byte, s string) []byte {
	switch s {
	case "":
		return append(b, "- "...)
	case "-":
		return append(b, "%2D "...)
	}
	for i := range min(len(s), textBytesMax) {
		if c := s[i]; c <= ' ' || c >= 0x7F || c == '"' || c == '\\' || c == '%' {
			b = escape(b, c)
		} else {
			b = append(b, c)
		}
	}
	return append(b, ' ')
}

// quoted adds a text in quotes, in which there may be spaces. A percent sign stays, since
// most of these texts are escaped by whoever sent them.
func quoted(b []byte, s string) []byte {
	if s == "" {
		return append(b, `"-" `...)
	}
	b = append(b, '"')
	for i := range min(len(s), textBytesMax) {
		if c := s[i]; c < ' ' || c >= 0x7F || c == '"' || c == '\\' {
			b = escape(b, c)
		} else {
			b = append(b, c)
		}
	}
	return append(b, `" `...)
}

func escape(b []byte, c byte) []byte {
	const hex = "0123456789ABCDEF"
	return append(b, '%', hex[c>>4], hex[c&15])
}

// number adds one that is known from least on.
func number(b []byte, n, least int64) []byte {
	if n < least {
		return append(b, "- "...)
	}
	return append(strconv.AppendInt(b, n, 10), ' ')
}

func millis(b []byte, d time.Duration) []byte {
	if d < 0 {
		return append(b, "- "...)
	}
	return number(b, d.Milliseconds(), 0)
}
