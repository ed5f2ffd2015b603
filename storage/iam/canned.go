package iam

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The canned ACLs that doors ask for by name.
const (
	Private                = "private"
	BucketOwnerRead        = "bucket-owner-read"
	BucketOwnerFullControl = "bucket-owner-full-control"
)

// The failures of reading an ACL from a client.
var (
	// ErrCanned says that no canned ACL has this name.
	ErrCanned = errors.New("no such canned ACL")
	// ErrGrantee says that a grantee is malformed, or no such account or group is known.
	ErrGrantee = errors.New("grantee is not known")
	// ErrEmail says that no account has this email address.
	ErrEmail = errors.New("no account has this email address")
)

// Canned makes the ACL of a name: owner is the owner of the bucket or object that it is
// for, and bucketOwner that of the bucket. An empty name is "private".
func Canned(name, owner, bucketOwner string) (*ACL, error) {
	a := &ACL{Owner: owner, Grants: []Grant{{Account: owner, Permission: FullControl}}}
	group := func(uri string, list ...Permission) {
		for _, p := range list {
			a.Grants = append(a.Grants, Grant{Group: uri, Permission: p})
		}
	}
	toBucketOwner := func(p Permission) {
		if bucketOwner != owner {
			a.Grants = append(a.Grants, Grant{Account: bucketOwner, Permission: p})
		}
	}
	switch name {
	case "", Private, "aws-exec-read":
	case "public-read":
		group(AllUsers, Read)
	case "public-read-write":
		group(AllUsers, Read, Write)
	case "authenticated-read":
		group(AuthenticatedUsers, Read)
	case "log-delivery-write":
		group(LogDelivery, Write, ReadACP)
	case BucketOwnerRead:
		toBucketOwner(Read)
	case BucketOwnerFullControl:
		toBucketOwner(FullControl)
	default:
		return nil, fmt.Errorf("%w: %q", ErrCanned, name)
	}
	return a, nil
}

// Grantee is how a client names who is given a permission: by one of the three.
type Grantee struct{ ID, Email, URI string }

// Grant finds out whom a grantee means: ErrEmail, ErrGrantee, or an error of the directory.
func (g Grantee) Grant(ctx context.Context, dir Directory, p Permission) (Grant, error) {
	out := Grant{Permission: p}
	switch {
	case !p.Valid():
		return out, fmt.Errorf("%w: permission %q", ErrGrantee, p)
	case g.URI != "":
		if g.URI != AllUsers && g.URI != AuthenticatedUsers && g.URI != LogDelivery {
			return out, fmt.Errorf("%w: group %q", ErrGrantee, g.URI)
		}
		out.Group = g.URI
		return out, nil
	case g.ID != "":
		who, err := dir.Account(ctx, g.ID)
		if errors.Is(err, ErrNoIdentity) || err == nil && who.Account != g.ID {
			return out, fmt.Errorf("%w: id %q", ErrGrantee, g.ID)
		}
		out.Account = who.Account
		return out, err
	case g.Email != "":
		who, err := dir.Account(ctx, g.Email)
		if errors.Is(err, ErrNoIdentity) || err == nil && !strings.EqualFold(who.Email, g.Email) {
			return out, fmt.Errorf("%w: %q", ErrEmail, g.Email)
		}
		out.Account = who.Account
		return out, err
	}
	return out, fmt.Errorf("%w: neither id, email nor uri", ErrGrantee)
}

// ParseGrantees reads the value of a header x-amz-grant-*: a list of type=value,
// separated by commas, where values may be quoted.
func ParseGrantees(s string) ([]Grantee, error) {
	var out []Grantee
	for s = strings.TrimSpace(s); s != ""; {
		kind, rest, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("%w: %q has no =", ErrGrantee, s)
		}
		value, rest, err := cutValue(rest)
		if err != nil {
			return nil, err
		}
		var g Grantee
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "id":
			g.ID = value
		case "emailaddress":
			g.Email = value
		case "uri":
			g.URI = value
		default:
			return nil, fmt.Errorf("%w: %q is neither id, emailAddress nor uri", ErrGrantee, kind)
		}
		out = append(out, g)
		if len(out) > GrantsMax {
			return nil, fmt.Errorf("%w: more than %d grantees", ErrGrantee, GrantsMax)
		}
		s = rest
	}
	return out, nil
}

// cutValue takes a value, quoted or not, and the comma behind it.
func cutValue(s string) (value, rest string, err error) {
	s = strings.TrimLeft(s, " \t")
	if s == "" || s[0] != '"' && s[0] != '\'' {
		value, rest, _ = strings.Cut(s, ",")
		return strings.TrimSpace(value), strings.TrimSpace(rest), nil
	}
	value, rest, ok := strings.Cut(s[1:], s[:1])
	if rest = strings.TrimSpace(rest); !ok || rest != "" && rest[0] != ',' {
		return "", "", fmt.Errorf("%w: quotes of %q do not match", ErrGrantee, s)
	}
	return value, strings.TrimSpace(strings.TrimPrefix(rest, ",")), nil
}
