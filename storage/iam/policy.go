package iam

import (
	"encoding/json"
	"fmt"
)

// Policy is a bucket policy, in the JSON of S3.
type Policy struct {
	Version   string
	Statement []json.RawMessage
}

// ParsePolicy reads a policy; "" is nil, which says nothing.
func ParsePolicy(s string) (*Policy, error) {
	if s == "" {
		return nil, nil
	}
	p := &Policy{}
	if err := json.Unmarshal([]byte(s), p); err != nil {
		return nil, fmt.Errorf("reading a bucket policy: %w", err)
	}
	return p, nil
}

// verdict denies where a policy cannot be judged.
func (p *Policy) verdict(*Rules, *Request) Verdict {
	if p == nil {
		return Silent
	}
	return Deny
}
