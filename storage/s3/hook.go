package s3

import (
	"net/http"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
)

// These are the places where the features of buckets and objects take part in the
// operations that everybody uses.

// newACL is the ACL that what a request creates shall bear, by x-amz-acl and
// x-amz-grant-*: nil where it is its owner's alone. bucketOwner is "" for a bucket.
func (q *request) newACL(owner, bucketOwner string) (*iam.ACL, error) {
	if acl := q.header("X-Amz-Acl"); acl != "" && acl != "private" {
		return nil, fail("NotImplemented", "This server does not have the canned ACL %q; leave x-amz-acl out.", acl)
	}
	if owner == bucketOwner || bucketOwner == "" {
		return nil, nil
	}
	return &iam.ACL{Owner: owner, Grants: []iam.Grant{{Account: owner, Permission: iam.FullControl}}}, nil
}

// sealNew fills in what an object bears that this request creates: owner and ACL. It is
// called before the body is read, for a copy and for an upload that begins as well.
func (q *request) sealNew(m *storage.Meta) error {
	owner := q.who.Account
	if q.who.Anonymous() {
		owner = q.rules.Owner
	}
	acl, err := q.newACL(owner, q.rules.Owner)
	if err != nil {
		return err
	}
	if m.System == nil {
		m.System = map[string]string{}
	}
	m.System[iam.ObjectOwner] = owner
	if acl != nil {
		m.System[iam.ObjectACL] = acl.Encode()
	}
	return nil
}

// guardRemoval refuses to remove a version for good that must stay.
func (q *request) guardRemoval(*storage.Info) error { return nil }

// describe adds what features say of an object to the answer of GET and HEAD.
func (q *request) describe(http.Header, *storage.Info) {}

// allowOrigin adds the headers that a browser asks for, where the bucket allows its
// origin. It is called for requests with Origin, before anything else.
func (q *request) allowOrigin() {}

// preflight answers OPTIONS.
func (q *request) preflight() error {
	return fail("AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.")
}

// newBucket fills in the settings that CreateBucket's headers ask for.
func (q *request) newBucket(*storage.Settings) error { return nil }
