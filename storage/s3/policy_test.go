package s3

import (
	"fmt"
	"strings"
	"testing"
)

func allowing(principal, action, resource, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":%s,"Action":%q,"Resource":["arn:aws:s3:::box","arn:aws:s3:::box/%s"]%s}]}`, principal, action, resource, condition)
}

func TestPolicy(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	w.ok(w.main("PUT", "/box/open/k", "x"))
	w.want(w.main("GET", "/box?policy", ""), 404, "NoSuchBucketPolicy")
	w.want(w.main("PUT", "/box?policy", "{"), 400, "MalformedPolicy")
	w.want(w.main("PUT", "/box?policy", strings.ReplaceAll(allowing(`"*"`, "s3:GetObject", "*", ""), ":::box", ":::cup")), 400, "MalformedPolicy")
	w.want(w.as("ALT", "PUT", "/box?policy", []byte(allowing(`"*"`, "s3:*", "*", "")), nil), 403, "AccessDenied")
	text := allowing(`"*"`, "s3:GetObject", "open/*", "")
	w.want(w.main("PUT", "/box?policy", text), 204, "")
	if r := w.ok(w.main("GET", "/box?policy", "")); string(r.body) != text {
		t.Errorf("got %s", r.body)
	}
	w.ok(w.as("", "GET", "/box/open/k", nil, nil))
	w.want(w.as("", "GET", "/box/shut", nil, nil), 403, "AccessDenied")
	w.want(w.main("DELETE", "/box?policy", ""), 204, "")
	w.want(w.as("", "GET", "/box/open/k", nil, nil), 403, "AccessDenied")
}

// TestPolicyConditions are those that need what a request or an object says.
func TestPolicyConditions(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	w.ok(w.main("PUT", "/box/red", "x", "x-amz-tagging", "colour=red"))
	w.ok(w.main("PUT", "/box/blue", "x", "x-amz-tagging", "colour=blue"))
	w.ok(w.main("PUT", "/box/dir/k", "x"))
	w.ok(w.as("ALT", "PUT", "/own", nil, nil))
	w.ok(w.as("ALT", "PUT", "/own/dir/k", nil, nil))
	w.ok(w.as("ALT", "PUT", "/own/k", nil, nil))
	put := func(h ...string) func(key string) *reply {
		return func(key string) *reply { return w.as("ALT", "PUT", "/box/"+key, []byte("x"), h) }
	}
	get := func(key string) *reply { return w.as("ALT", "GET", "/box/"+key, nil, nil) }
	for name, c := range map[string]struct {
		action, condition string
		yes, no           func() *reply
	}{
		"existing tag": {"s3:GetObject", `{"StringEquals":{"s3:ExistingObjectTag/colour":"red"}}`,
			func() *reply { return get("red") }, func() *reply { return get("blue") }},
		"tags of an existing tag": {"s3:GetObjectTagging", `{"StringEquals":{"s3:ExistingObjectTag/colour":"red"}}`,
			func() *reply { return get("red?tagging") }, func() *reply { return get("blue?tagging") }},
		"request tag": {"s3:PutObject", `{"StringEquals":{"s3:RequestObjectTag/colour":"red"}}`,
			func() *reply { return put("x-amz-tagging", "colour=red")("new") }, func() *reply { return put()("new") }},
		"canned ACL": {"s3:PutObject", `{"StringNotLike":{"s3:x-amz-acl":"public*"}}`,
			func() *reply { return put()("new") }, func() *reply { return put("x-amz-acl", "public-read")("new") }},
		"grant": {"s3:PutObject", `{"StringEquals":{"s3:x-amz-grant-full-control":"id=main"}}`,
			func() *reply { return put("x-amz-grant-full-control", "id=main")("new") }, func() *reply { return put()("new") }},
		"prefix": {"s3:ListBucket", `{"StringEquals":{"s3:prefix":"dir/"}}`,
			func() *reply { return get("?prefix=dir/") }, func() *reply { return get("?prefix=di") }},
		"copy source": {"s3:PutObject", `{"StringLike":{"s3:x-amz-copy-source":"own/dir/*"}}`,
			func() *reply { return put("x-amz-copy-source", "/own/dir%2Fk")("new") }, func() *reply { return put("x-amz-copy-source", "/own/k")("new") }},
		"time": {"s3:GetObject", `{"DateGreaterThan":{"aws:CurrentTime":"2020-01-01"},"NumericGreaterThan":{"aws:EpochTime":1}}`,
			func() *reply { return get("red") }, func() *reply { return get("red?tagging") }},
		"referer": {"s3:GetObject", `{"StringLike":{"aws:Referer":"http://www.example.com/*"}}`,
			func() *reply {
				return w.as("ALT", "GET", "/box/red", nil, head{"Referer", "http://www.example.com/x"})
			}, func() *reply { return get("red") }},
		"address": {"s3:GetObject", `{"IpAddress":{"aws:SourceIp":["127.0.0.0/8","::1"]},"Bool":{"aws:SecureTransport":"false"}}`,
			func() *reply { return get("red") }, func() *reply { return w.as("ALT", "HEAD", "/box", nil, nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			w.ok(w.main("PUT", "/box?policy", allowing(`{"AWS":"arn:aws:iam::alt:root"}`, c.action, "*", c.condition)))
			w.ok(c.yes())
			w.want(c.no(), 403, "")
		})
	}
}

func TestPublicAccess(t *testing.T) {
	w := newWorld(t)
	block := func(field string) string {
		return "<PublicAccessBlockConfiguration><" + field + ">true</" + field + "></PublicAccessBlockConfiguration>"
	}
	status := func(want bool) {
		t.Helper()
		if r := w.ok(w.main("GET", "/box?policyStatus", "")); !strings.Contains(string(r.body), fmt.Sprintf("<IsPublic>%v</IsPublic>", want)) {
			t.Errorf("got %s", r.body)
		}
	}
	w.ok(w.main("PUT", "/box", ""))
	status(false)
	w.want(w.main("GET", "/box?publicAccessBlock", ""), 404, "NoSuchPublicAccessBlockConfiguration")
	w.ok(w.main("PUT", "/box?publicAccessBlock", block("BlockPublicAcls")))
	if r := w.ok(w.main("GET", "/box?publicAccessBlock", "")); !strings.Contains(string(r.body), "<BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>false") {
		t.Errorf("got %s", r.body)
	}
	w.want(w.main("PUT", "/box?acl", "", "x-amz-acl", "public-read"), 403, "AccessDenied")
	w.want(w.main("PUT", "/box/k", "x", "x-amz-acl", "authenticated-read"), 403, "AccessDenied")
	w.ok(w.main("PUT", "/box/k", "x", "x-amz-acl", "private"))
	w.ok(w.main("DELETE", "/box?publicAccessBlock", ""))

	w.ok(w.main("PUT", "/box?acl", "", "x-amz-acl", "authenticated-read"))
	status(true)
	w.ok(w.main("PUT", "/box?publicAccessBlock", block("IgnorePublicAcls")))
	status(false)
	w.want(w.as("ALT", "GET", "/box", nil, nil), 403, "AccessDenied")

	w.ok(w.main("PUT", "/box?publicAccessBlock", block("BlockPublicPolicy")))
	open := allowing(`"*"`, "s3:GetObject", "*", "")
	w.want(w.main("PUT", "/box?policy", open), 403, "AccessDenied")
	w.ok(w.main("PUT", "/box?policy", allowing(`{"AWS":"alt"}`, "s3:GetObject", "*", "")))
	w.ok(w.main("DELETE", "/box?publicAccessBlock", ""))
	w.ok(w.main("PUT", "/box?acl", "", "x-amz-acl", "private"))
	status(false)
	w.ok(w.main("PUT", "/box?policy", open))
	status(true)
	w.ok(w.as("ALT", "GET", "/box/k", nil, nil))
	w.ok(w.main("PUT", "/box?publicAccessBlock", block("RestrictPublicBuckets")))
	w.want(w.as("ALT", "GET", "/box/k", nil, nil), 403, "AccessDenied")
	w.ok(w.main("GET", "/box/k", ""))
}
