package iam

import (
	"context"
	"errors"
	"slices"
)

// Identity is who asks.
type Identity struct {
	// Account owns what its identities create. It is the canonical id of an S3 owner, and
	// a Swift account without the reseller prefix. "" is nobody: the request is anonymous.
	Account string
	// User is a name within the account.
	User string
	// DisplayName and Email are what S3 shows of an owner, and finds a grantee by.
	DisplayName, Email string
	// Admin may do everything in its account. Others of the account may do what rules say.
	Admin bool
	// Role is what one who is no admin may do with the account's objects.
	Role Role
	// Operator may do everything in every account.
	Operator bool
	// Service speaks for a service that keeps data of users in accounts of its own
	// (Swift: the role that X-Service-Token needs).
	Service bool
	// Groups are further names that rules may name: projects, roles, groups of Kubernetes.
	Groups []string
}

// Anonymous says that nobody is known to ask.
func (i Identity) Anonymous() bool { return i.Account == "" }

// Name is the identity as rules name it: account:user.
func (i Identity) Name() string { return i.Account + ":" + i.User }

// In says whether the identity bears a group's name.
func (i Identity) In(group string) bool { return slices.Contains(i.Groups, group) }

// The failures of a Directory.
var (
	// ErrNoIdentity says that no such key, user or token is known.
	ErrNoIdentity = errors.New("identity is not known")
	// ErrSecret says that a password does not match.
	ErrSecret = errors.New("secret does not match")
)

// Directory knows identities. Its methods may be called at once, and often: those that
// ask over a network remember answers for a short time.
type Directory interface {
	// Key returns whose an access key is, and its secret, or ErrNoIdentity.
	Key(ctx context.Context, accessKey string) (Identity, string, error)

	// Password returns who account:user is if the password is theirs, or ErrNoIdentity,
	// or ErrSecret.
	Password(ctx context.Context, name, password string) (Identity, error)

	// Token returns who bears a token that somebody else issued (Keystone, Kubernetes),
	// or ErrNoIdentity.
	Token(ctx context.Context, token string) (Identity, error)

	// Account finds an account by its id or by an email address, or returns
	// ErrNoIdentity.
	Account(ctx context.Context, idOrEmail string) (Identity, error)
}
