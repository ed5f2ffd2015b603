package iam

import (
	"fmt"
	"net/url"
	"strings"

	"polder.dev/polder/storage"
)

// SwiftACL is what X-Container-Read or X-Container-Write says: names of accounts and
// users, and rules for referrers.
type SwiftACL struct {
	names    []string
	refer    []referrer
	listings bool // .rlistings
}

// referrer is a rule of .r: for a host, or for all below a domain that begins with a dot.
type referrer struct {
	host string // "*" is any
	deny bool
}

// ParseSwiftACL reads a list, separated by commas; "" is nil, which gives nothing. It is
// lenient, as it reads what was kept; CleanSwiftACL is not.
func ParseSwiftACL(s string) (*SwiftACL, error) {
	if s == "" {
		return nil, nil
	}
	a := &SwiftACL{}
	for n := range strings.SplitSeq(s, ",") {
		n = strings.TrimSpace(n)
		switch host, isRefer := strings.CutPrefix(n, ".r:"); {
		case n == "":
		case isRefer:
			host, deny := strings.CutPrefix(host, "-")
			a.refer = append(a.refer, referrer{host: host, deny: deny})
		case n == ".rlistings":
			a.listings = true
		default:
			if q, err := url.PathUnescape(n); err == nil {
				n = q
			}
			a.names = append(a.names, n)
		}
	}
	return a, nil
}

// CleanSwiftACL checks what a client says and brings it into the form that is kept. The
// texts of its errors are Swift's.
func CleanSwiftACL(header, s string) (string, error) {
	var out []string
	bad := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("%w: "+format, append([]any{storage.ErrInvalid}, args...)...)
	}
	for raw := range strings.SplitSeq(s, ",") {
		n := strings.TrimSpace(raw)
		first, second, ok := strings.Cut(n, ":")
		first, second = strings.TrimSpace(first), strings.TrimSpace(second)
		switch {
		case n == "":
			continue
		case !ok || !strings.HasPrefix(first, "."):
			out = append(out, n)
			continue
		case first != ".r" && first != ".ref" && first != ".referer" && first != ".referrer":
			return bad("Unknown designator '%s' in ACL: '%s'", first, raw)
		case strings.Contains(strings.ToLower(header), "write"):
			return bad("Referrers not allowed in write ACL: '%s'", raw)
		}
		host, deny := strings.CutPrefix(second, "-")
		host = strings.TrimSpace(host)
		if strings.HasPrefix(host, "*") && host != "*" {
			host = strings.TrimSpace(host[1:])
		}
		if host == "" || host == "." {
			return bad("No host/domain value after referrer designation in ACL: '%s'", raw)
		}
		if deny {
			host = "-" + host
		}
		out = append(out, ".r:"+host)
	}
	return strings.Join(out, ","), nil
}

// named compares account, account:user and groups. In Keystone's manner either side of
// the colon may be a star.
func (a *SwiftACL) named(who Identity) bool {
	if a == nil || who.Anonymous() {
		return false
	}
	for _, n := range a.names {
		if n == who.Account || n == who.Name() || who.In(n) || n == "*:*" ||
			who.User != "" && n == "*:"+who.User || n == who.Account+":*" {
			return true
		}
	}
	return false
}

// referred judges the host of a referrer: the last rule that fits it counts.
func (a *SwiftACL) referred(referer string) bool {
	if a == nil {
		return false
	}
	host := ""
	if u, err := url.Parse(referer); err == nil && u.Host != "" {
		host = u.Hostname()
	}
	if host == "" {
		host = "unknown"
	}
	allowed := false
	for _, r := range a.refer {
		if r.host == "*" || r.host == host || strings.HasPrefix(r.host, ".") && strings.HasSuffix(host, r.host) {
			allowed = !r.deny
		}
	}
	return allowed
}

func (a *SwiftACL) reads(q *Request) bool { return a.named(q.Who) || a.referred(q.Referer) }

func (a *SwiftACL) lists(q *Request) bool {
	return a.named(q.Who) || a != nil && a.listings && a.referred(q.Referer)
}

func (a *SwiftACL) writes(q *Request) bool { return a.named(q.Who) }

// Denies says whether the bucket's policy forbids a request, for doors that have further
// reasons to allow one: a signed URL, an account's own ACL.
func (r *Rules) Denies(q *Request) bool { return r.Policy.verdict(r, q) == Deny }
