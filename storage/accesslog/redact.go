package accesslog

import (
	"net/url"
	"slices"
	"strings"
)

// secrets are what names of parameters contain whose values let somebody in: signatures of
// presigned requests (versions 2 and 4), session tokens, TempURL's signatures, tokens of
// Swift's, and keys that clients encrypt with.
var secrets = []string{
	"signature", "temp_url_sig", "security-token", "session-token", "auth-token", "auth_token", "access_token", "storage-token", "service-token",
	"customer-key", "password", "secret",
}

// redacted stands in place of a secret.
const redacted = "REDACTED"

// Redact takes the secrets out of an address: the values of parameters that secrets names,
// and a password in front of a host. The rest stays as it was sent.
func Redact(address string) string {
	out := address
	if scheme, rest, ok := strings.Cut(out, "://"); ok && !strings.ContainsAny(scheme, "/?#") {
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		if at := strings.LastIndexByte(rest[:end], '@'); at >= 0 {
			out = scheme + "://" + redacted + rest[at:]
		}
	}
	const marks = "?&;#"
	at := strings.IndexAny(out, "?#")
	if at < 0 {
		return out
	}
	var b strings.Builder
	b.WriteString(out[:at])
	for rest := out[at:]; rest != ""; {
		end := strings.IndexAny(rest[1:], marks) + 1
		if end == 0 {
			end = len(rest)
		}
		b.WriteByte(rest[0])
		b.WriteString(parameter(rest[1:end]))
		rest = rest[end:]
	}
	return b.String()
}

// parameter is one without its value, if that is a secret.
func parameter(p string) string {
	name, value, _ := strings.Cut(p, "=")
	plain, err := url.QueryUnescape(name)
	if err != nil {
		return redacted // nobody can say what it is
	}
	plain = strings.ToLower(plain)
	switch {
	case !slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(plain, s) }):
		return p
	case strings.Contains(plain, "="): // the mark was escaped, and the value is in the name
		return redacted
	case value == "":
		return p
	}
	return name + "=" + redacted
}
