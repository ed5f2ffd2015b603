package accesslog

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage/iam"
)

var (
	at     = time.Date(2026, 2, 6, 0, 0, 38, 0, time.UTC)
	fields = regexp.MustCompile(`"[^"]*"|\[[^\]]*\]|[^ ]+`)
)

// fieldsOf takes a line apart, as Amazon's readers of logs do.
func fieldsOf(line string) []string { return fields.FindAllString(line, -1) }

const fieldCount = 27

func TestRecord(t *testing.T) {
	full := Record{
		Owner: "team", Bucket: "data", Time: at.In(time.FixedZone("", 3600)), RemoteIP: "192.0.2.3", Requester: "arn:aws:iam::team:user/ann", RequestID: "3E57",
		Operation: "REST.GET.OBJECT", Key: "a b/ä%", RequestLine: "GET /data/a%20b HTTP/1.1", Status: 404, ErrorCode: "NoSuchKey", Sent: 297, Size: 0,
		Total: 70 * time.Millisecond, Turn: 10 * time.Millisecond, Referer: "http://x/ y", UserAgent: `q"\` + "\n", Version: "3HL4", HostID: "h=", Signature: "SigV4",
		Cipher: "TLS_AES_128_GCM_SHA256", AuthType: "QueryString", Host: "data.s3:9000", TLS: "TLSv1.3", ByACL: true,
	}
	for name, c := range map[string]struct {
		r    Record
		want string
	}{
		"all": {full, `team data [06/Feb/2026:00:00:38 +0000] 192.0.2.3 arn:aws:iam::team:user/ann 3E57 REST.GET.OBJECT a%20b/%C3%A4%25 "GET /data/a%20b HTTP/1.1" 404 NoSuchKey 297 0 70 10 ` +
			`"http://x/ y" "q%22%5C%0A" 3HL4 h= SigV4 TLS_AES_128_GCM_SHA256 QueryString data.s3:9000 TLSv1.3 - Yes -` + "\n"},
		"none": {Record{Time: at, Size: -1, Total: -1, Turn: -1}, `- - [06/Feb/2026:00:00:38 +0000] - - - - - "-" - - - - - - "-" "-" - - - - - - - - - -` + "\n"},
		"dash": {Record{Time: at, Key: "-", Size: -1, Total: -1, Turn: -1}, `- - [06/Feb/2026:00:00:38 +0000] - - - - %2D "-" - - - - - - "-" "-" - - - - - - - - - -` + "\n"},
	} {
		got := string(c.r.append(nil))
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
		if n := len(fieldsOf(strings.TrimSuffix(got, "\n"))); n != fieldCount {
			t.Errorf("%s has %d fields", name, n)
		}
	}
}

func TestOf(t *testing.T) {
	u, err := url.Parse("/data/k?versionId=1")
	if err != nil {
		t.Fatal(err)
	}
	r := &http.Request{
		Method: "GET", URL: u, RequestURI: "/data/k?X-Amz-Signature=abc&versionId=1", Proto: "HTTP/1.1", Host: "h:1", RemoteAddr: "[::1]:77",
		Header: http.Header{"Referer": {"https://p/?Signature=s"}, "User-Agent": {"u"}},
		TLS:    &tls.ConnectionState{Version: tls.VersionTLS12, CipherSuite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
	}
	want := Record{
		RemoteIP: "::1", RequestLine: "GET /data/k?X-Amz-Signature=REDACTED&versionId=1 HTTP/1.1", Referer: "https://p/?Signature=REDACTED", UserAgent: "u",
		Host: "h:1", TLS: "TLSv1.2", Cipher: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Size: -1, Total: -1, Turn: -1,
	}
	if got := Of(r); got != want {
		t.Errorf("got %+v", got)
	}
	r.RequestURI = ""
	if got := Of(r).RequestLine; got != "GET /data/k?versionId=1 HTTP/1.1" {
		t.Errorf("one that no client sent: %s", got)
	}
	for want, who := range map[string]iam.Identity{"": {User: "x"}, "a": {Account: "a"}, "arn:aws:iam::a:user/u": {Account: "a", User: "u"}} {
		if got := Requester(who); got != want {
			t.Errorf("%+v is %q", who, got)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"/b/k":                     "/b/k",
		"/b/k?versionId=1&prefix=": "/b/k?versionId=1&prefix=",
		"/b/k?X-Amz-Credential=K/2&X-Amz-SignedHeaders=host&X-Amz-Signature=abc": "/b/k?X-Amz-Credential=K/2&X-Amz-SignedHeaders=host&X-Amz-Signature=REDACTED",
		"/b/k?x-amz-signature=abc&X-Amz-Security-Token=t%3D":                     "/b/k?x-amz-signature=REDACTED&X-Amz-Security-Token=REDACTED",
		"/b/k?AWSAccessKeyId=K&Expires=1&Signature=s%2B=":                        "/b/k?AWSAccessKeyId=K&Expires=1&Signature=REDACTED",
		"/v1/a/c/o?temp_url_sig=f00&temp_url_expires=9":                          "/v1/a/c/o?temp_url_sig=REDACTED&temp_url_expires=9",
		"/b/k?X-Amz-Server-Side-Encryption-Customer-Key=abc":                     "/b/k?X-Amz-Server-Side-Encryption-Customer-Key=REDACTED",
		"/b/k?%58-Amz-Signatur%65=abc;X-Auth-Token=t":                            "/b/k?%58-Amz-Signatur%65=REDACTED;X-Auth-Token=REDACTED",
		"/b/k?X-Amz-Signature%3Dabc":                                             "/b/k?REDACTED",
		"/b/k?%zz=abc":                                                           "/b/k?REDACTED",
		"/b/k?a?X-Amz-Signature=abc":                                             "/b/k?a?X-Amz-Signature=REDACTED",
		"https://u:p@h/b#access_token=t":                                         "https://REDACTED@h/b#access_token=REDACTED",
		"https://u:p@h":                                                          "https://REDACTED@h",
		"/b/u@k?x=http://u@h":                                                    "/b/u@k?x=http://u@h",
		"/b/k?delete&Signature":                                                  "/b/k?delete&Signature",
	} {
		if got := Redact(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

// FuzzRecord: whatever a client sends, a line is one line, has its fields where they belong,
// and the texts without spaces can be read back. A signature never comes through.
func FuzzRecord(f *testing.F) {
	f.Add("key", "/b/k?versionId=1", "agent", "http://r/", "host", int64(5))
	f.Add("a b\n\"-\" ", "/b/k HTTP/1.1\" 200 - -\nx", `\"`, "[x] ]", "-", int64(-1))
	f.Add("%41", "?x=%zz&&;#", "\x00\xff", "://@?", "", int64(0))
	f.Fuzz(func(t *testing.T, key, uri, agent, referer, host string, size int64) {
		const secret = "0123456789abcdef0123456789abcdef"
		in := &http.Request{Method: "GET", URL: &url.URL{}, RequestURI: uri + "&X-Amz-Signature=" + secret, Proto: "HTTP/1.1", Host: host, RemoteAddr: host, Header: http.Header{"User-Agent": {agent}, "Referer": {referer}}}
		if !strings.ContainsAny(uri, "?#") {
			in.RequestURI = uri + "?X-Amz-Signature=" + secret
		}
		r := Of(in)
		r.Owner, r.Bucket, r.Time, r.Key, r.Size, r.Version = host, host, at, key, size, key
		line := string(r.append(nil))
		if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
			t.Fatalf("not one line: %q", line)
		}
		if strings.Contains(line, secret) {
			t.Errorf("the signature is in %q", line)
		}
		if strings.ContainsFunc(line[:len(line)-1], func(r rune) bool { return r < ' ' || r >= 0x7F }) {
			t.Errorf("not plain: %q", line)
		}
		got := fieldsOf(line[:len(line)-1])
		if len(got) != fieldCount {
			t.Fatalf("%d fields in %q", len(got), line)
		}
		for i, want := range map[int]string{0: host, 1: host, 7: key, 17: key, 22: host} {
			if want == "" {
				want = "-"
			} else if plain, err := url.PathUnescape(got[i]); err == nil && got[i] != "-" {
				got[i] = plain
			} else {
				t.Errorf("field %d of %q: %v", i, line, err)
			}
			if len(want) <= textBytesMax && got[i] != want {
				t.Errorf("field %d is %q, want %q", i, got[i], want)
			}
		}
		if want := strconv.FormatInt(size, 10); size >= 0 && got[12] != want || size < 0 && got[12] != "-" {
			t.Errorf("size is %s", got[12])
		}
	})
}
