package iam

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// LabelQuota is the most that a bucket may hold, in bytes, as a decimal number.
const LabelQuota = "quota.bytes"

// LabelSwiftQuota is what the header X-Container-Meta-Quota-Bytes of Swift has set; both
// quotas hold, through either door.
const LabelSwiftQuota = "swift.header.X-Container-Meta-Quota-Bytes"

// LabelSwiftQuotaCount is what X-Container-Meta-Quota-Count has set.
const LabelSwiftQuotaCount = "swift.header.X-Container-Meta-Quota-Count"

// LabelAccess is JSON of a list of Access.
const LabelAccess = "access"

// Role is a set of actions on objects.
type Role string

const (
	// Reader lists and reads.
	Reader Role = "reader"
	// Writer does that, and writes and deletes objects, but not older versions.
	Writer Role = "writer"
)

// Everybody is an Access's account for all. Without a signature one only reads.
const Everybody = "*"

// Access gives a role in a bucket, for keys with a prefix.
type Access struct {
	Account string `json:"account"`
	User    string `json:"user,omitempty"` // "" is all of the account
	Role    Role   `json:"role"`
	Prefix  string `json:"prefix,omitempty"`
}

// ParseAccess reads what EncodeAccess wrote; "" is none.
func ParseAccess(s string) ([]Access, error) {
	if s == "" {
		return nil, nil
	}
	var out []Access
	if err := json.Unmarshal([]byte(s), &out); err != nil {
		return nil, fmt.Errorf("reading who has access: %w", err)
	}
	return out, nil
}

// EncodeAccess is the form that is kept.
func EncodeAccess(list []Access) string {
	if len(list) == 0 {
		return ""
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic("iam: a list of strings cannot fail to encode: " + err.Error())
	}
	return string(b)
}

var (
	reading = []Action{
		GetObject, "s3:GetObjectVersion", "s3:GetObjectTagging", "s3:GetObjectVersionTagging", "s3:GetObjectAttributes",
		"s3:GetObjectVersionAttributes", ListBucket, "s3:ListBucketVersions", "s3:GetBucketLocation", "s3:GetBucketVersioning",
	}
	writing = []Action{
		PutObject, DeleteObject, "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:ListBucketMultipartUploads",
		"s3:PutObjectTagging", "s3:DeleteObjectTagging",
	}
)

// has says whether a role allows an action.
func (r Role) has(a Action) bool {
	switch r {
	case Reader:
		return slices.Contains(reading, a)
	case Writer:
		return slices.Contains(reading, a) || slices.Contains(writing, a)
	}
	return false
}

// given says what roles give: the identity's own in its account, and those that the
// bucket's list gives. For a listing, the prefix that is asked for counts.
func (r *Rules) given(q *Request) bool {
	if !q.Who.Anonymous() && q.Who.Account == r.Owner && q.Who.Role.has(q.Action) {
		return true
	}
	for _, a := range r.Access {
		if !a.Role.has(q.Action) || !a.fits(q.Who) {
			continue
		}
		key := q.Key
		if q.Action == ListBucket || q.Action == "s3:ListBucketVersions" {
			key = ""
			if p := q.Context["s3:prefix"]; len(p) > 0 {
				key = p[0]
			}
		}
		if strings.HasPrefix(key, a.Prefix) {
			return true
		}
	}
	return false
}

func (a Access) fits(who Identity) bool {
	if a.Account == Everybody {
		return a.Role == Reader || !who.Anonymous()
	}
	return !who.Anonymous() && a.Account == who.Account && (a.User == "" || a.User == who.User)
}
