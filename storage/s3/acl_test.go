package s3

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/storage/iam"
)

// grant is one that an answer shows.
type grant struct {
	Who, Name string
	May       string
}

func (w *world) grants(r *reply) (owner string, out []grant) {
	w.t.Helper()
	var f struct {
		Owner struct{ ID string }
		List  struct {
			Grant []struct {
				Grantee    struct{ ID, DisplayName, URI string }
				Permission string
			}
		} `xml:"AccessControlList"`
	}
	if err := xml.Unmarshal(w.ok(r).body, &f); err != nil {
		w.t.Fatal(err)
	}
	for _, g := range f.List.Grant {
		out = append(out, grant{g.Grantee.ID + g.Grantee.URI, g.Grantee.DisplayName, g.Permission})
	}
	return f.Owner.ID, out
}

// aclBody makes the XML of an ACL: grants are "TYPE=WHO:PERMISSION".
func aclBody(owner string, grants ...string) string {
	var b strings.Builder
	b.WriteString("<AccessControlPolicy><Owner><ID>" + owner + "</ID></Owner><AccessControlList>")
	for _, g := range grants {
		kind, rest, _ := strings.Cut(g, "=")
		i := strings.LastIndex(rest, ":")
		fmt.Fprintf(&b, `<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="x"><%s>%s</%s></Grantee><Permission>%s</Permission></Grant>`, kind, rest[:i], kind, rest[i+1:])
	}
	return b.String() + "</AccessControlList></AccessControlPolicy>"
}

func TestBucketACL(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", ""))
	owner, got := w.grants(w.main("GET", "/box?acl", ""))
	if d := cmp.Diff([]grant{{"main", "Main", "FULL_CONTROL"}}, got); d != "" || owner != "main" {
		t.Errorf("of a new bucket, owner %s: %s", owner, d)
	}
	w.want(w.as("ALT", "GET", "/box?acl", nil, nil), 403, "AccessDenied")
	w.ok(w.main("PUT", "/box?acl", "", "x-amz-acl", "public-read-write"))
	_, got = w.grants(w.main("GET", "/box?acl", ""))
	if d := cmp.Diff([]grant{{"main", "Main", "FULL_CONTROL"}, {iam.AllUsers, "", "READ"}, {iam.AllUsers, "", "WRITE"}}, got); d != "" {
		t.Error(d)
	}
	w.ok(w.as("", "PUT", "/box/k", []byte("x"), nil))
	w.ok(w.as("", "GET", "/box", nil, nil))
	w.want(w.as("", "GET", "/box/k", nil, nil), 403, "AccessDenied") // it is the bucket owner's, and private
	w.ok(w.main("PUT", "/box?acl", aclBody("main", "ID=main:FULL_CONTROL", "EmailAddress=alt@example.org:READ_ACP", "URI="+iam.AuthenticatedUsers+":READ")))
	_, got = w.grants(w.as("ALT", "GET", "/box?acl", nil, nil))
	if d := cmp.Diff([]grant{{"main", "Main", "FULL_CONTROL"}, {"alt", "Alt", "READ_ACP"}, {iam.AuthenticatedUsers, "", "READ"}}, got); d != "" {
		t.Error(d)
	}
	w.want(w.as("", "GET", "/box", nil, nil), 403, "AccessDenied")
	w.ok(w.as("PLAIN", "GET", "/box", nil, nil))

	// an owner who renounces writing keeps the ACL
	w.ok(w.main("PUT", "/box?acl", aclBody("main")))
	w.want(w.main("PUT", "/box/other", "x"), 403, "AccessDenied")
	w.ok(w.main("PUT", "/box?acl", "", "x-amz-acl", "private"))
	w.ok(w.main("PUT", "/box/other", "x"))

	for name, c := range map[string]struct {
		body   string
		h      head
		status int
		code   string
	}{
		"nothing":       {"", nil, 400, "MissingSecurityHeader"},
		"canned":        {"", head{"x-amz-acl", "public"}, 400, "InvalidArgument"},
		"two at once":   {"", head{"x-amz-acl", "private", "x-amz-grant-read", "id=alt"}, 400, "InvalidRequest"},
		"and a body":    {aclBody("main"), head{"x-amz-acl", "private"}, 400, "UnexpectedContent"},
		"no XML":        {"<AccessControl", nil, 400, "MalformedACLError"},
		"no owner":      {"<AccessControlPolicy><AccessControlList/></AccessControlPolicy>", nil, 400, "MalformedACLError"},
		"another owner": {aclBody("alt"), nil, 403, "AccessDenied"},
		"permission":    {aclBody("main", "ID=alt:ALL"), nil, 400, "MalformedACLError"},
		"unknown id":    {aclBody("main", "ID=nobody:READ"), nil, 400, "InvalidArgument"},
		"unknown email": {aclBody("main", "EmailAddress=x@y:READ"), nil, 400, "UnresolvableGrantByEmailAddress"},
		"unknown group": {aclBody("main", "URI=http://x:READ"), nil, 400, "InvalidArgument"},
		"header":        {"", head{"x-amz-grant-read", "alt"}, 400, "InvalidArgument"},
	} {
		t.Run(name, func(t *testing.T) {
			w.want(w.main("PUT", "/box?acl", c.body, c.h...), c.status, c.code)
		})
	}
}

func TestObjectACL(t *testing.T) {
	w := newWorld(t)
	w.ok(w.main("PUT", "/box", "", "x-amz-acl", "public-read-write"))
	w.ok(w.main("PUT", "/box/mine", "x", "x-amz-grant-read", `id="alt"`, "x-amz-grant-write-acp", `emailAddress="alt@example.org"`))
	_, got := w.grants(w.main("GET", "/box/mine?acl", ""))
	if d := cmp.Diff([]grant{{"alt", "Alt", "READ"}, {"alt", "Alt", "WRITE_ACP"}}, got); d != "" {
		t.Error(d)
	}
	w.ok(w.as("ALT", "GET", "/box/mine", nil, nil))
	w.want(w.as("ALT", "GET", "/box/mine?acl", nil, nil), 403, "AccessDenied")
	w.ok(w.as("ALT", "PUT", "/box/mine?acl", []byte(aclBody("main", "ID=alt:READ_ACP")), nil))
	w.want(w.as("ALT", "GET", "/box/mine", nil, nil), 403, "AccessDenied")
	w.ok(w.as("ALT", "GET", "/box/mine?acl", nil, nil))

	w.ok(w.as("ALT", "PUT", "/box/yours", []byte("x"), head{"x-amz-acl", "bucket-owner-read"}))
	owner, got := w.grants(w.as("ALT", "GET", "/box/yours?acl", nil, nil))
	if d := cmp.Diff([]grant{{"alt", "Alt", "FULL_CONTROL"}, {"main", "Main", "READ"}}, got); d != "" || owner != "alt" {
		t.Errorf("owner %s: %s", owner, d)
	}
	w.ok(w.as("ALT", "PUT", "/box/yours?acl", nil, head{"x-amz-acl", "bucket-owner-full-control"}))
	_, got = w.grants(w.main("GET", "/box/yours?acl", ""))
	if d := cmp.Diff([]grant{{"alt", "Alt", "FULL_CONTROL"}, {"main", "Main", "FULL_CONTROL"}}, got); d != "" {
		t.Error(d)
	}
	w.want(w.main("GET", "/box/none?acl", ""), 404, "NoSuchKey")
	w.want(w.as("", "GET", "/box/none?acl", nil, nil), 404, "NoSuchKey") // it may list
}

// TestAccess is every bucket's ACL with every object's, as others see it.
func TestAccess(t *testing.T) {
	w := newWorld(t)
	for i, bucket := range []string{"private", "public-read", "public-read-write"} {
		name := fmt.Sprintf("/bucket%d", i)
		w.ok(w.main("PUT", name, "", "x-amz-acl", bucket))
		for _, object := range []string{"private", "public-read", "public-read-write"} {
			w.ok(w.main("PUT", name+"/"+object, "x", "x-amz-acl", object))
			read := 403
			if object != "private" {
				read = 200
			}
			w.want(w.as("ALT", "GET", name+"/"+object, nil, nil), read, "")
			w.want(w.as("", "GET", name+"/"+object, nil, nil), read, "")
			write := 403
			if bucket == "public-read-write" {
				write = 200
			}
			w.want(w.as("ALT", "PUT", name+"/"+object, []byte("y"), nil), write, "")
		}
		list := 403
		if bucket != "private" {
			list = 200
		}
		w.want(w.as("ALT", "GET", name, nil, nil), list, "")
		w.want(w.as("", "GET", name+"?list-type=2", nil, nil), list, "")
	}
}

func TestOwnershipControls(t *testing.T) {
	w := newWorld(t)
	control := func(o string) string {
		return "<OwnershipControls><Rule><ObjectOwnership>" + o + "</ObjectOwnership></Rule></OwnershipControls>"
	}
	w.ok(w.main("PUT", "/box", "", "x-amz-acl", "public-read-write"))
	w.want(w.main("GET", "/box?ownershipControls", ""), 404, "OwnershipControlsNotFoundError")
	w.want(w.main("PUT", "/box?ownershipControls", control("Nobody")), 400, "MalformedXML")
	w.want(w.main("PUT", "/box?ownershipControls", control("BucketOwnerEnforced")), 400, "InvalidBucketAclWithObjectOwnership")
	w.ok(w.main("PUT", "/box?ownershipControls", control("BucketOwnerPreferred")))
	if r := w.ok(w.main("GET", "/box?ownershipControls", "")); !strings.Contains(string(r.body), "BucketOwnerPreferred") {
		t.Errorf("got %s", r.body)
	}
	w.ok(w.as("ALT", "PUT", "/box/given", []byte("x"), head{"x-amz-acl", "bucket-owner-full-control"}))
	w.ok(w.as("ALT", "PUT", "/box/kept", []byte("x"), nil))
	for key, want := range map[string]string{"given": "main", "kept": "alt"} {
		if owner, _ := w.grants(w.main("GET", "/box/"+key+"?acl", "")); owner != want {
			t.Errorf("%s is %s's", key, owner)
		}
	}
	w.ok(w.main("DELETE", "/box?ownershipControls", ""))
	w.want(w.main("PUT", "/cup", "", "x-amz-object-ownership", "BucketOwnerEnforced", "x-amz-acl", "public-read"), 400, "InvalidBucketAclWithObjectOwnership")
	w.ok(w.main("PUT", "/cup", "", "x-amz-object-ownership", "BucketOwnerEnforced"))
	w.want(w.main("PUT", "/cup?acl", "", "x-amz-acl", "public-read"), 400, "AccessControlListNotSupported")
	w.want(w.main("PUT", "/cup/k", "x", "x-amz-acl", "public-read"), 400, "AccessControlListNotSupported")
	w.ok(w.main("PUT", "/cup/k", "x", "x-amz-acl", "bucket-owner-full-control"))
}
