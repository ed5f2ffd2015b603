package iam

import (
	"encoding/json"
	"fmt"
)

// Permission of an S3 ACL.
type Permission string

const (
	Read        Permission = "READ"
	Write       Permission = "WRITE"
	ReadACP     Permission = "READ_ACP"
	WriteACP    Permission = "WRITE_ACP"
	FullControl Permission = "FULL_CONTROL"
)

// Valid says whether S3 has such a permission.
func (p Permission) Valid() bool {
	switch p {
	case Read, Write, ReadACP, WriteACP, FullControl:
		return true
	}
	return false
}

// The groups of S3 that polder knows.
const (
	AllUsers           = "http://acs.amazonaws.com/groups/global/AllUsers"
	AuthenticatedUsers = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
	LogDelivery        = "http://acs.amazonaws.com/groups/s3/LogDelivery"
)

// Grant gives a permission to an account or to a group.
type Grant struct {
	Account    string     `json:"account,omitempty"`
	Group      string     `json:"group,omitempty"`
	Permission Permission `json:"permission"`
}

// ACL is what S3 keeps for a bucket or an object.
type ACL struct {
	Owner  string  `json:"owner"`
	Grants []Grant `json:"grants,omitempty"`
}

// GrantsMax is S3's limit of grants in an ACL.
const GrantsMax = 100

// ParseACL reads what Encode wrote; "" is nil.
func ParseACL(s string) (*ACL, error) {
	if s == "" {
		return nil, nil
	}
	a := &ACL{}
	if err := json.Unmarshal([]byte(s), a); err != nil {
		return nil, fmt.Errorf("reading an ACL: %w", err)
	}
	return a, nil
}

// Encode is the form that is kept.
func (a *ACL) Encode() string {
	if a == nil {
		return ""
	}
	b, err := json.Marshal(a)
	if err != nil {
		panic("iam: an ACL of strings cannot fail to encode: " + err.Error())
	}
	return string(b)
}

// Has says whether a grant gives a permission to an identity. What is granted to an
// account its admins have; its other users have what rules give them by name.
func (a *ACL) Has(who Identity, p Permission, block PublicBlock) bool {
	if a == nil {
		return false
	}
	for _, g := range a.Grants {
		if g.Permission != p && g.Permission != FullControl {
			continue
		}
		switch {
		case g.Account != "" && g.Account == who.Account && who.Admin,
			g.Group == AllUsers && !block.IgnoreACLs,
			g.Group == AuthenticatedUsers && !who.Anonymous() && !block.IgnoreACLs:
			return true
		}
	}
	return false
}

// owns says that an identity speaks for the ACL's owner.
func (a *ACL) owns(who Identity) bool {
	return a != nil && who.Admin && !who.Anonymous() && who.Account == a.Owner
}

// Public says that the ACL gives something to everybody, or to everybody with an account.
func (a *ACL) Public() bool {
	if a == nil {
		return false
	}
	for _, g := range a.Grants {
		if g.Group == AllUsers || g.Group == AuthenticatedUsers {
			return true
		}
	}
	return false
}

// needs is the permission that an action takes, and whether it is the bucket's ACL that
// gives it or the object's (Amazon S3 User Guide, "Mapping of ACL permissions and access
// policy permissions"). Actions that are not here no ACL gives.
var needs = map[Action]struct {
	permission Permission
	bucket     bool
}{
	ListBucket:                      {Read, true},
	"s3:ListBucketVersions":         {Read, true},
	"s3:ListBucketMultipartUploads": {Read, true},
	PutObject:                       {Write, true},
	DeleteObject:                    {Write, true},
	"s3:AbortMultipartUpload":       {Write, true},
	"s3:ListMultipartUploadParts":   {Write, true},
	"s3:GetBucketAcl":               {ReadACP, true},
	"s3:PutBucketAcl":               {WriteACP, true},
	GetObject:                       {Read, false},
	"s3:GetObjectVersion":           {Read, false},
	"s3:GetObjectAttributes":        {Read, false},
	"s3:GetObjectVersionAttributes": {Read, false},
	"s3:GetObjectTorrent":           {Read, false},
	"s3:GetObjectVersionTorrent":    {Read, false},
	"s3:GetObjectAcl":               {ReadACP, false},
	"s3:GetObjectVersionAcl":        {ReadACP, false},
	"s3:PutObjectAcl":               {WriteACP, false},
	"s3:PutObjectVersionAcl":        {WriteACP, false},
	"s3:GetObjectTagging":           {ownOnly, false},
	"s3:GetObjectVersionTagging":    {ownOnly, false},
	"s3:PutObjectTagging":           {ownOnly, false},
	"s3:PutObjectVersionTagging":    {ownOnly, false},
	"s3:DeleteObjectTagging":        {ownOnly, false},
	"s3:DeleteObjectVersionTagging": {ownOnly, false},
}

// ownOnly is no permission that can be granted: only an object's owner has it.
const ownOnly Permission = ""

// grants says what the ACLs of bucket and object give. Who owns an object in another's
// bucket may do with it all that ACLs speak of, and tag it, but for what its own grants
// leave out: an owner can always read and change an ACL.
func (r *Rules) grants(q *Request) bool {
	n, ok := needs[q.Action]
	if !ok || r.Ownership == BucketOwnerEnforced {
		return false
	}
	acl := q.Object
	if n.bucket {
		acl = r.ACL
	}
	switch n.permission {
	case ReadACP, WriteACP, ownOnly:
		if acl.owns(q.Who) {
			return true
		}
	}
	return n.permission != ownOnly && acl.Has(q.Who, n.permission, r.Public)
}

// renounced says that a bucket's owner took a permission from itself: there is an ACL,
// and it does not grant it.
func (r *Rules) renounced(q *Request) bool {
	n, ok := needs[q.Action]
	if !ok || !n.bucket || r.ACL == nil || r.Ownership == BucketOwnerEnforced {
		return false
	}
	return (n.permission == Read || n.permission == Write) && !r.ACL.Has(q.Who, n.permission, r.Public)
}
