package s3

import (
	"net/http"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/lock"
)

// These are the places where the features of buckets and objects take part in the
// operations that everybody uses.

// sealNew fills in what an object bears that this request creates: owner, ACL, tags and
// lock. It is called before the body is read, for a copy and for an upload that begins as
// well. Of a copy, m has the source's tags.
func (q *request) sealNew(m *storage.Meta) error {
	owner := q.rules.Ownership.Owner(q.who.Account, q.rules.Owner, q.header("X-Amz-Acl"))
	acl, err := q.newACL(owner, q.rules.Owner)
	if err != nil {
		return err
	}
	if m.System == nil {
		m.System = map[string]string{}
	}
	m.System[iam.ObjectOwner] = owner
	delete(m.System, iam.ObjectACL)
	if acl != nil {
		m.System[iam.ObjectACL] = acl.Encode()
	}
	if err := q.sealTags(m); err != nil {
		return err
	}
	if err := q.sealData(m); err != nil {
		return err
	}
	return q.sealLock(m)
}

// describe adds what features say of an object to the answer of GET and HEAD.
func (q *request) describe(h http.Header, v *storage.Info) {
	q.watchSize(v.Size)
	q.describeLock(h, v)
	q.describeExpiry(h, v)
	q.describeSeal(h, &v.Meta)
}

// describeNew adds what features say of an object to the answer of what made it.
func (q *request) describeNew(h http.Header, v *storage.Info) {
	q.watchSize(v.Size)
	q.describeExpiry(h, v)
	q.describeSeal(h, &v.Meta)
}

// guardVersioning refuses a change of versioning that other settings forbid.
func (q *request) guardVersioning(to storage.Versioning) error {
	if to != storage.Versioned && lock.Enabled(q.info.Settings) {
		return fail("InvalidBucketState", "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
	}
	return nil
}

// newBucket fills in the settings that CreateBucket's headers ask for.
func (q *request) newBucket(set *storage.Settings) error {
	if err := q.newOwnership(set); err != nil {
		return err
	}
	return q.newLock(set)
}
