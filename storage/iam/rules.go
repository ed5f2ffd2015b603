package iam

import (
	"fmt"

	"polder.dev/polder/storage"
)

// The labels of a bucket's settings that say who may do what.
const (
	LabelOwner      = "owner"        // the account
	LabelACL        = "s3.acl"       // JSON of ACL
	LabelPolicy     = "s3.policy"    // the bucket policy as it was put
	LabelPublic     = "s3.public"    // JSON of PublicBlock
	LabelOwnership  = "s3.ownership" // an Ownership
	LabelSwiftRead  = "swift.read"   // X-Container-Read
	LabelSwiftWrite = "swift.write"  // X-Container-Write
)

// Action is what somebody wants to do, by its name in S3: "s3:GetObject".
type Action string

// The actions that Swift's door asks for as well. S3 has more of them.
const (
	GetObject    Action = "s3:GetObject"
	PutObject    Action = "s3:PutObject"
	DeleteObject Action = "s3:DeleteObject"
	ListBucket   Action = "s3:ListBucket"
	// EditBucket stands for all that only an owner does: ACLs, versioning, quotas.
	EditBucket Action = "s3:PutBucketPolicy"
)

// LogService writes the access logs of buckets.
const LogService = "logging.s3.amazonaws.com"

// Request is one thing that somebody wants to do.
type Request struct {
	Who    Identity
	Action Action
	// Service is the name under which policies know a part of the store that acts by itself,
	// and is nobody else: LogService. "" for whoever comes through a door.
	Service string
	// Bucket is its name as S3 clients say it; Key is "" for what concerns the bucket.
	Bucket, Key string
	// Object is the object's own ACL where it has one.
	Object *ACL
	// Context has what a policy's conditions ask for, by lower-case key: aws:sourceip,
	// s3:prefix, s3:existingobjecttag/KEY ...
	Context map[string][]string
	// Referer is what Swift's .r: rules compare.
	Referer string
}

// Rules are what a bucket says of access to it. They are parsed once and kept by a door
// as long as the bucket's settings are the same.
type Rules struct {
	Owner  string
	ACL    *ACL    // nil is private
	Policy *Policy // nil says nothing
	Public PublicBlock
	// Ownership of objects that other accounts put.
	Ownership Ownership
	Read      *SwiftACL
	Write     *SwiftACL
	Access    []Access
}

// ParseRules reads the labels of a bucket.
func ParseRules(s storage.Settings) (*Rules, error) {
	r := &Rules{Owner: s.Labels[LabelOwner], Ownership: Ownership(s.Labels[LabelOwnership])}
	if r.Ownership != "" && !r.Ownership.Valid() {
		return nil, fmt.Errorf("%s: %q is no setting", LabelOwnership, r.Ownership)
	}
	var err error
	if r.ACL, err = ParseACL(s.Labels[LabelACL]); err != nil {
		return nil, fmt.Errorf("%s: %w", LabelACL, err)
	}
	if r.Policy, err = ParsePolicy(s.Labels[LabelPolicy]); err != nil {
		return nil, fmt.Errorf("%s: %w", LabelPolicy, err)
	}
	if r.Public, err = ParsePublicBlock(s.Labels[LabelPublic]); err != nil {
		return nil, fmt.Errorf("%s: %w", LabelPublic, err)
	}
	if r.Read, err = ParseSwiftACL(s.Labels[LabelSwiftRead]); err != nil {
		return nil, fmt.Errorf("%s: %w", LabelSwiftRead, err)
	}
	if r.Write, err = ParseSwiftACL(s.Labels[LabelSwiftWrite]); err != nil {
		return nil, fmt.Errorf("%s: %w", LabelSwiftWrite, err)
	}
	if r.Access, err = ParseAccess(s.Labels[LabelAccess]); err != nil {
		return nil, fmt.Errorf("%s: %w", LabelAccess, err)
	}
	return r, nil
}

// Verdict is what a part of the rules says of a request.
type Verdict uint8

const (
	Silent Verdict = iota
	Allow
	Deny
)

// Allows decides. A policy's Deny holds against everybody but the owner's admins, who
// may always read and change the policy itself, so that nobody locks a bucket for good.
// Then operators and the owner's admins may do everything, and others what a policy, a
// role, an ACL or a Swift ACL gives them. An owner who put an ACL that does not grant the
// owner READ or WRITE has renounced that, as S3 has it, until the ACL is changed.
//
// The owner of a bucket may read what others put into it, whatever the object's ACL
// says: it pays for the room, and Swift knows no other owner.
func (r *Rules) Allows(q *Request) bool {
	owner := q.Who.Operator || q.Who.Admin && !q.Who.Anonymous() && q.Who.Account == r.Owner
	policy := r.Policy.verdict(r, q)
	if policy == Deny {
		return owner && aboutPolicy(q.Action)
	}
	if owner && (q.Who.Operator || !r.renounced(q)) {
		return true
	}
	return policy == Allow || r.given(q) || r.grants(q) || r.swift(q)
}

func aboutPolicy(a Action) bool {
	return a == "s3:GetBucketPolicy" || a == "s3:PutBucketPolicy" || a == "s3:DeleteBucketPolicy"
}

// swift says what X-Container-Read and X-Container-Write give.
func (r *Rules) swift(q *Request) bool {
	switch q.Action {
	case GetObject:
		return r.Read.reads(q)
	case ListBucket:
		return r.Read.lists(q)
	case PutObject, DeleteObject:
		return r.Write.writes(q)
	}
	return false
}
