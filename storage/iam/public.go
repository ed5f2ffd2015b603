package iam

import (
	"encoding/json"
	"fmt"
)

// PublicBlock is S3's PublicAccessBlockConfiguration.
type PublicBlock struct {
	// BlockACLs refuses ACLs that are public, BlockPolicy such policies.
	BlockACLs   bool `json:"blockACLs,omitempty"`
	BlockPolicy bool `json:"blockPolicy,omitempty"`
	// IgnoreACLs takes no notice of grants to everybody.
	IgnoreACLs bool `json:"ignoreACLs,omitempty"`
	// RestrictBuckets lets a public policy give nothing to other accounts.
	RestrictBuckets bool `json:"restrictBuckets,omitempty"`
}

// ParsePublicBlock reads what Encode wrote; "" is none.
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

// Encode is the form that is kept.
func (p PublicBlock) Encode() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic("iam: four truths cannot fail to encode: " + err.Error())
	}
	return string(b)
}

// Ownership says whose objects are that another account puts into a bucket.
type Ownership string

const (
	// ObjectWriter: whoever put it. It is what "" means.
	ObjectWriter Ownership = "ObjectWriter"
	// BucketOwnerPreferred: the bucket's owner, if it was put with the canned ACL
	// bucket-owner-full-control.
	BucketOwnerPreferred Ownership = "BucketOwnerPreferred"
	// BucketOwnerEnforced: always the bucket's owner, and there are no ACLs.
	BucketOwnerEnforced Ownership = "BucketOwnerEnforced"
)

// Valid says whether S3 has such a setting.
func (o Ownership) Valid() bool {
	return o == ObjectWriter || o == BucketOwnerPreferred || o == BucketOwnerEnforced
}

// Owner is the account that owns an object which writer puts with a canned ACL. What
// nobody known puts is the bucket owner's.
func (o Ownership) Owner(writer, bucketOwner string, canned string) string {
	switch {
	case writer == "", o == BucketOwnerEnforced, o == BucketOwnerPreferred && canned == BucketOwnerFullControl:
		return bucketOwner
	}
	return writer
}
