package s3

import (
	"encoding/xml"
	"errors"
	"net/http"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
)

// grantHeaders are the headers that grant, by permission.
var grantHeaders = []struct {
	header     string
	permission iam.Permission
}{
	{"X-Amz-Grant-Full-Control", iam.FullControl},
	{"X-Amz-Grant-Read", iam.Read},
	{"X-Amz-Grant-Read-Acp", iam.ReadACP},
	{"X-Amz-Grant-Write", iam.Write},
	{"X-Amz-Grant-Write-Acp", iam.WriteACP},
}

// newACL is the ACL that what a request creates shall bear, by x-amz-acl and
// x-amz-grant-*: nil where it is its owner's alone. bucketOwner is "" for a bucket.
func (q *request) newACL(owner, bucketOwner string) (*iam.ACL, error) {
	acl, err := q.headerACL(owner, bucketOwner)
	if err != nil || acl != nil {
		return acl, err
	}
	if owner == bucketOwner || bucketOwner == "" {
		return nil, nil
	}
	return iam.Canned(iam.Private, owner, bucketOwner)
}

// headerACL is the ACL that headers ask for, or nil where they do not.
func (q *request) headerACL(owner, bucketOwner string) (*iam.ACL, error) {
	canned := q.header("X-Amz-Acl")
	grants, err := q.headerGrants()
	if err != nil {
		return nil, err
	}
	switch {
	case canned != "" && grants != nil:
		return nil, fail("InvalidRequest", "Specifying both canned ACLs and header grants is not allowed: leave x-amz-acl or x-amz-grant-* out.")
	case grants != nil:
		return q.checkACL(&iam.ACL{Owner: owner, Grants: grants})
	case canned == "":
		return nil, nil
	}
	if bucketOwner == "" {
		bucketOwner = owner
	}
	acl, err := iam.Canned(canned, owner, bucketOwner)
	if err != nil {
		return nil, fail("InvalidArgument", "%s", sentence(err.Error())).with("ArgumentName", "x-amz-acl").with("ArgumentValue", canned)
	}
	return q.checkACL(acl)
}

func (q *request) headerGrants() ([]iam.Grant, error) {
	var out []iam.Grant
	for _, e := range grantHeaders {
		list, err := iam.ParseGrantees(strings.Join(q.r.Header[e.header], ","))
		if err != nil {
			return nil, grantError(err)
		}
		for _, g := range list {
			grant, err := g.Grant(q.ctx, q.s.people, e.permission)
			if err != nil {
				return nil, grantError(err)
			}
			out = append(out, grant)
		}
	}
	return out, nil
}

func grantError(err error) error {
	switch {
	case errors.Is(err, iam.ErrEmail):
		return fail("UnresolvableGrantByEmailAddress", "%s", sentence(err.Error()))
	case errors.Is(err, iam.ErrGrantee):
		return fail("InvalidArgument", "%s", sentence(err.Error()))
	}
	return err
}

// checkACL refuses an ACL that the bucket's ownership or its block of public access
// forbids. A bucket that is being made has neither yet.
func (q *request) checkACL(a *iam.ACL) (*iam.ACL, error) {
	switch {
	case q.rules == nil:
	case q.rules.Ownership == iam.BucketOwnerEnforced && !ownersAlone(a, q.rules.Owner):
		return nil, fail("AccessControlListNotSupported", "The bucket does not allow ACLs: its object ownership is BucketOwnerEnforced.")
	case q.rules.Public.BlockACLs && a.Public():
		return nil, fail("AccessDenied", "Access denied: the bucket's public access block refuses public ACLs.")
	}
	return a, nil
}

// ownersAlone says that an ACL grants nothing but full control to accounts of the
// bucket's owner and the object's.
func ownersAlone(a *iam.ACL, owner string) bool {
	for _, g := range a.Grants {
		if g.Permission != iam.FullControl || g.Account != owner && g.Account != a.Owner {
			return false
		}
	}
	return true
}

// xsi is the name space that tells kinds of grantees apart.
const xsi = "http://www.w3.org/2001/XMLSchema-instance"

// aclXML is the body of PutBucketAcl and PutObjectAcl.
type aclXML struct {
	XMLName xml.Name `xml:"AccessControlPolicy"`
	Owner   *struct{ ID string }
	Grants  *struct {
		Grant []struct {
			Grantee struct {
				Type         string `xml:"http://www.w3.org/2001/XMLSchema-instance type,attr"`
				ID           string
				EmailAddress string
				URI          string
			}
			Permission iam.Permission
		}
	} `xml:"AccessControlList"`
}

// wantedACL is the ACL of a request that puts one, in headers or in its body. The owner
// cannot be changed.
func (q *request) wantedACL(owner, bucketOwner string) (*iam.ACL, error) {
	body, err := q.readAll(xmlBytesMax)
	if err != nil {
		return nil, err
	}
	a, err := q.headerACL(owner, bucketOwner)
	switch {
	case err != nil:
		return nil, err
	case a != nil && len(body) > 0:
		return nil, fail("UnexpectedContent", "The ACL is in headers; leave the body empty.")
	case a != nil:
		return a, nil
	case len(body) == 0:
		return nil, fail("MissingSecurityHeader", "Send an ACL: as x-amz-acl, as x-amz-grant-*, or as XML.")
	}
	var f aclXML
	if err := xml.Unmarshal(body, &f); err != nil {
		return nil, fail("MalformedACLError", "The body is no AccessControlPolicy: %v.", err)
	}
	switch {
	case f.Owner == nil || f.Grants == nil:
		return nil, fail("MalformedACLError", "The AccessControlPolicy needs Owner and AccessControlList.")
	case f.Owner.ID != owner:
		return nil, fail("AccessDenied", "Access denied: the owner is %s, and an ACL cannot change that.", owner)
	case len(f.Grants.Grant) > iam.GrantsMax:
		return nil, fail("MalformedACLError", "There are %d grants, and at most %d are taken.", len(f.Grants.Grant), iam.GrantsMax)
	}
	a = &iam.ACL{Owner: owner}
	for _, g := range f.Grants.Grant {
		e := iam.Grantee{ID: g.Grantee.ID, Email: g.Grantee.EmailAddress, URI: g.Grantee.URI}
		if !g.Permission.Valid() {
			return nil, fail("MalformedACLError", "%q is no permission.", g.Permission)
		}
		grant, err := e.Grant(q.ctx, q.s.people, g.Permission)
		if err != nil {
			return nil, grantError(err)
		}
		a.Grants = append(a.Grants, grant)
	}
	return q.checkACL(a)
}

// answerACL answers with an ACL; nil is its owner's alone.
func (q *request) answerACL(a *iam.ACL, owner string) error {
	if a == nil || q.rules.Ownership == iam.BucketOwnerEnforced {
		a = &iam.ACL{Owner: owner, Grants: []iam.Grant{{Account: owner, Permission: iam.FullControl}}}
	}
	x := newXML().root("AccessControlPolicy").owner("Owner", a.Owner, q.s.display(q.ctx, a.Owner)).open("AccessControlList")
	for _, g := range a.Grants {
		x.open("Grant")
		kind := "CanonicalUser"
		if g.Group != "" {
			kind = "Group"
		}
		x.b.WriteString(`<Grantee xmlns:xsi="` + xsi + `" xsi:type="` + kind + `">`)
		if g.Group != "" {
			x.text("URI", g.Group)
		} else {
			x.text("ID", g.Account).text("DisplayName", q.s.display(q.ctx, g.Account))
		}
		x.close("Grantee").text("Permission", string(g.Permission)).close("Grant")
	}
	return q.reply(x.close("AccessControlList").close("AccessControlPolicy"))
}

func (q *request) bucketACL() error { return q.answerACL(q.rules.ACL, q.rules.Owner) }

func (q *request) putBucketACL() error {
	a, err := q.wantedACL(q.rules.Owner, q.rules.Owner)
	if err != nil {
		return err
	}
	if err := q.setLabel(iam.LabelACL, a.Encode()); err != nil {
		return err
	}
	return q.status(http.StatusOK)
}

func (q *request) objectACL() error {
	there, err := q.subject("s3:GetObject", "Acl")
	if err != nil {
		return err
	}
	a, err := iam.ParseACL(there.Meta.System[iam.ObjectACL])
	if err != nil {
		return err
	}
	return q.answerACL(a, q.ownerOf(there))
}

func (q *request) putObjectACL() error {
	there, err := q.subject("s3:PutObject", "Acl")
	if err != nil {
		return err
	}
	a, err := q.wantedACL(q.ownerOf(there), q.rules.Owner)
	if err != nil {
		return err
	}
	return q.edit(there, func(m *storage.Meta) error {
		m.System[iam.ObjectACL] = a.Encode()
		return nil
	})
}

// ownerOf is the account that owns an object.
func (q *request) ownerOf(there *storage.Info) string {
	if o := there.Meta.System[iam.ObjectOwner]; o != "" && q.rules.Ownership != iam.BucketOwnerEnforced {
		return o
	}
	return q.rules.Owner
}
