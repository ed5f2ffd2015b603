package s3

import (
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"polder.dev/polder/storage"
)

// contextHeaders are the headers that conditions of a policy compare, by their keys.
var contextHeaders = []struct{ key, header string }{
	{"aws:useragent", "User-Agent"},
	{"aws:referer", "Referer"},
	{"s3:x-amz-acl", "X-Amz-Acl"},
	{"s3:x-amz-content-sha256", "X-Amz-Content-Sha256"},
	{"s3:x-amz-metadata-directive", "X-Amz-Metadata-Directive"},
	{"s3:x-amz-storage-class", "X-Amz-Storage-Class"},
	{"s3:x-amz-website-redirect-location", "X-Amz-Website-Redirect-Location"},
	{"s3:x-amz-object-ownership", "X-Amz-Object-Ownership"},
	{"s3:x-amz-grant-full-control", "X-Amz-Grant-Full-Control"},
	{"s3:x-amz-grant-read", "X-Amz-Grant-Read"},
	{"s3:x-amz-grant-read-acp", "X-Amz-Grant-Read-Acp"},
	{"s3:x-amz-grant-write", "X-Amz-Grant-Write"},
	{"s3:x-amz-grant-write-acp", "X-Amz-Grant-Write-Acp"},
	{"s3:x-amz-server-side-encryption", sseHead},
	{"s3:x-amz-server-side-encryption-aws-kms-key-id", sseKMS},
	{"s3:x-amz-server-side-encryption-customer-algorithm", sseCustomer + "Algorithm"},
	{"s3:object-lock-mode", "X-Amz-Object-Lock-Mode"},
	{"s3:object-lock-retain-until-date", "X-Amz-Object-Lock-Retain-Until-Date"},
	{"s3:object-lock-legal-hold", "X-Amz-Object-Lock-Legal-Hold"},
	{"s3:if-match", "If-Match"},
	{"s3:if-none-match", "If-None-Match"},
}

var contextParams = []struct{ key, param string }{
	{"s3:prefix", "prefix"}, {"s3:delimiter", "delimiter"}, {"s3:max-keys", "max-keys"}, {"s3:versionid", "versionId"},
}

// context is what a policy's conditions may ask for.
func (q *request) context(there *storage.Info) map[string][]string {
	now := q.s.now().UTC()
	c := map[string][]string{
		"aws:currenttime":     {now.Format(time.RFC3339)},
		"aws:epochtime":       {strconv.FormatInt(now.Unix(), 10)},
		"aws:securetransport": {strconv.FormatBool(q.r.TLS != nil)},
	}
	if host, _, err := net.SplitHostPort(q.r.RemoteAddr); err == nil {
		c["aws:sourceip"] = []string{host}
	}
	for _, e := range contextHeaders {
		if v := q.header(e.header); v != "" {
			c[e.key] = []string{v}
		}
	}
	for _, e := range contextParams {
		if v, ok := q.query.Find(e.param); ok {
			c[e.key] = []string{v}
		}
	}
	if v := q.header("X-Amz-Copy-Source"); v != "" {
		if path, err := url.PathUnescape(v); err == nil {
			v = path
		}
		c["s3:x-amz-copy-source"] = []string{strings.TrimPrefix(v, "/")}
	}
	if until, err := parseDate(q.header("X-Amz-Object-Lock-Retain-Until-Date")); err == nil {
		days := math.Ceil(until.Sub(now).Hours() / 24)
		c["s3:object-lock-remaining-retention-days"] = []string{strconv.FormatFloat(days, 'f', 0, 64)}
	}
	q.contextTags(c, there)
	return c
}

// contextTags adds the tags of the object that is there, and of the one that the request
// asks for.
func (q *request) contextTags(c map[string][]string, there *storage.Info) {
	if there != nil {
		for k, v := range there.Meta.Tags {
			c["s3:existingobjecttag/"+k] = []string{v}
		}
	}
	asked := q.requested
	if v := q.header("X-Amz-Tagging"); v != "" && asked == nil {
		asked, _ = headerTags(v) // what is malformed is refused when it is used
	}
	for k, v := range asked {
		c["s3:requestobjecttag/"+k] = []string{v}
		c["s3:requestobjecttagkeys"] = append(c["s3:requestobjecttagkeys"], k)
	}
}
