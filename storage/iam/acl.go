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

// Has says whether the ACL gives a permission to an identity.
func (a *ACL) Has(who Identity, p Permission, block PublicBlock) bool {
	if a == nil {
		return false
	}
	if !who.Anonymous() && who.Account == a.Owner && who.Admin {
		return true
	}
	for _, g := range a.Grants {
		if g.Permission != p && g.Permission != FullControl {
			continue
		}
		switch {
		case g.Account != "" && g.Account == who.Account,
			g.Group == AllUsers && !block.IgnoreACLs,
			g.Group == AuthenticatedUsers && !who.Anonymous() && !block.IgnoreACLs:
			return true
		}
	}
	return false
}

// grants says what the ACLs of bucket and object give.
func (r *Rules) grants(q *Request) bool {
	bucket := func(p Permission) bool { return r.ACL.Has(q.Who, p, r.Public) }
	object := func(p Permission) bool { return q.Object.Has(q.Who, p, r.Public) }
	switch q.Action {
	case "s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads":
		return bucket(Read)
	case "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts":
		return bucket(Write)
	case "s3:GetBucketAcl":
		return bucket(ReadACP)
	case "s3:PutBucketAcl":
		return bucket(WriteACP)
	case "s3:GetObject", "s3:GetObjectVersion":
		return object(Read)
	case "s3:GetObjectAcl", "s3:GetObjectVersionAcl":
		return object(ReadACP)
	case "s3:PutObjectAcl", "s3:PutObjectVersionAcl":
		return object(WriteACP)
	}
	return false
}

// PublicBlock is S3's PublicAccessBlockConfiguration.
type PublicBlock struct {
	BlockACLs       bool `json:"blockACLs,omitempty"`
	IgnoreACLs      bool `json:"ignoreACLs,omitempty"`
	BlockPolicy     bool `json:"blockPolicy,omitempty"`
	RestrictBuckets bool `json:"restrictBuckets,omitempty"`
}

// ParsePublicBlock reads what is kept; "" is none.
func ParsePublicBlock(s string) (PublicBlock, error) {
	var p PublicBlock
	if s == "" {
		return p, nil
	}
	if err := json.Unmarshal([]byte(s), &p); err != nil {
		return p, fmt.Errorf("reading a public access block: %w", err)
	}
	return p, nil
}
