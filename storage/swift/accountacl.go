package swift

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"polder.dev/polder/storage/iam"
)

const headerAccountACL = "X-Account-Access-Control"

// accountACL is what an account's owner lets others do in all of it.
type accountACL struct {
	Admin     []string `json:"admin,omitempty"`
	ReadWrite []string `json:"read-write,omitempty"`
	ReadOnly  []string `json:"read-only,omitempty"`
}

func (a *accountACL) level(who iam.Identity) level {
	names := append([]string{who.Account, who.Name()}, who.Groups...)
	in := func(list []string) bool {
		return slices.ContainsFunc(list, func(n string) bool { return slices.Contains(names, n) })
	}
	switch {
	case in(a.Admin):
		return owner
	case in(a.ReadWrite):
		return readWrite
	case in(a.ReadOnly):
		return readOnly
	}
	return none
}

// accountACL is the one that was put, or an empty one.
func (c *call) accountACL(a accountRef) (*accountACL, error) {
	out := &accountACL{}
	r, _, err := c.h.book.Find(c.ctx, a.name)
	if err != nil || r.Headers[headerAccountACL] == "" {
		return out, err
	}
	if err := json.Unmarshal([]byte(r.Headers[headerAccountACL]), out); err != nil {
		return nil, fmt.Errorf("reading the ACL of account %s: %w", a.name, err)
	}
	return out, nil
}

// cleanAccountACL checks what a client says, and brings it into the form that is kept.
func cleanAccountACL(s string) (string, error) {
	if strings.TrimSpace(s) == "" {
		return "", nil
	}
	bad := func(why string) (string, error) {
		return "", &fault{status: 400, kind: "text/plain; charset=UTF-8", text: headerAccountACL + " invalid: " + why + "\n\nInput: " + s + "\n"}
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(s), &raw); err != nil {
		return bad("Syntax error in input ('" + s + "')")
	}
	if len(raw) == 0 {
		return "", nil
	}
	out := map[string][]string{}
	for k, v := range raw {
		if k != "admin" && k != "read-write" && k != "read-only" {
			return bad(fmt.Sprintf("Key %q not recognized", k))
		}
		var list []json.RawMessage
		if err := json.Unmarshal(v, &list); err != nil || list == nil {
			return bad(fmt.Sprintf("Value for key %q must be a list", k))
		}
		out[k] = []string{}
		for _, e := range list {
			var name string
			if err := json.Unmarshal(e, &name); err != nil {
				return bad(fmt.Sprintf("Elements of %q list must be strings", k))
			}
			out[k] = append(out[k], name)
		}
	}
	b, err := json.Marshal(out)
	if err != nil {
		return "", fmt.Errorf("writing an account's ACL: %w", err)
	}
	return string(b), nil
}
