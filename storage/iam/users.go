package iam

import (
	"context"
	"crypto/subtle"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// User is one entry of a file of users.
type User struct {
	// Account and Name say who it is. Neither may hold a colon or a slash.
	Account string `json:"account"`
	Name    string `json:"name"`
	// Password is what Swift's TempAuth asks for.
	Password string `json:"password,omitempty"`
	// AccessKey and SecretKey are for S3. Without them a user with a password has the
	// access key account:name and the password as its secret, as Swift's s3api has it.
	AccessKey string `json:"accessKey,omitempty"`
	SecretKey string `json:"secretKey,omitempty"`
	// Roles are admin (all in its account), reader or writer of its objects, operator (all
	// in all accounts), service, or any other name, which becomes a group.
	Roles       []string `json:"roles,omitempty"`
	DisplayName string   `json:"displayName,omitempty"`
	Email       string   `json:"email,omitempty"`
}

// Users is a Directory of what a file says, or a command line. It does not change.
type Users struct {
	keys      map[string]known
	names     map[string]known
	addresses map[string]Identity // accounts, by id and email
}

var _ Directory = (*Users)(nil)

type known struct {
	who    Identity
	secret string
}

// ParseUsers reads YAML with a list of User under "users". Unknown fields are errors.
func ParseUsers(data []byte) (*Users, error) {
	var f struct {
		Users []User `json:"users"`
	}
	if err := yaml.UnmarshalStrict(data, &f); err != nil {
		return nil, fmt.Errorf("reading users: %w", err)
	}
	return NewUsers(f.Users)
}

// NewUsers checks users and makes a Directory of them.
func NewUsers(list []User) (*Users, error) {
	u := &Users{keys: map[string]known{}, names: map[string]known{}, addresses: map[string]Identity{}}
	for i, e := range list {
		if err := u.add(e); err != nil {
			return nil, fmt.Errorf("users[%d]: %w", i, err)
		}
	}
	return u, nil
}

func (u *Users) add(e User) error {
	if err := e.check(); err != nil {
		return err
	}
	who := e.identity()
	if _, ok := u.names[who.Name()]; ok {
		return fmt.Errorf("name: %s is there twice", who.Name())
	}
	u.names[who.Name()] = known{who, e.Password}
	key, secret := e.AccessKey, e.SecretKey
	if key == "" && e.Password != "" {
		key, secret = who.Name(), e.Password
	}
	if key != "" {
		if _, ok := u.keys[key]; ok {
			return fmt.Errorf("accessKey: %s is there twice", key)
		}
		u.keys[key] = known{who, secret}
	}
	for _, a := range []string{e.Account, e.Email} {
		if _, ok := u.addresses[a]; !ok && a != "" {
			u.addresses[a] = who
		}
	}
	return nil
}

func (e User) check() error {
	for field, v := range map[string]string{"account": e.Account, "name": e.Name} {
		if v == "" || strings.ContainsAny(v, ":/\x00") {
			return fmt.Errorf("%s: %q must be a name without colon or slash", field, v)
		}
	}
	if (e.AccessKey == "") != (e.SecretKey == "") {
		return fmt.Errorf("accessKey, secretKey: give both or neither")
	}
	if e.AccessKey == "" && e.Password == "" {
		return fmt.Errorf("password: give a password, or accessKey and secretKey")
	}
	return nil
}

func (e User) identity() Identity {
	who := Identity{Account: e.Account, User: e.Name, DisplayName: e.DisplayName, Email: e.Email}
	if who.DisplayName == "" {
		who.DisplayName = e.Account
	}
	for _, r := range e.Roles {
		switch r {
		case "admin":
			who.Admin = true
		case "operator":
			who.Operator = true
		case "reader", "writer":
			who.Role = Role(r)
		case "service":
			who.Service = true
		default:
			who.Groups = append(who.Groups, r)
		}
	}
	return who
}

// Key implements Directory.
func (u *Users) Key(_ context.Context, accessKey string) (Identity, string, error) {
	k, ok := u.keys[accessKey]
	if !ok {
		return Identity{}, "", ErrNoIdentity
	}
	return k.who, k.secret, nil
}

// Password implements Directory. It takes as long for a wrong password as for a right one.
func (u *Users) Password(_ context.Context, name, password string) (Identity, error) {
	k, ok := u.names[name]
	if !ok || k.secret == "" {
		return Identity{}, ErrNoIdentity
	}
	if subtle.ConstantTimeCompare([]byte(k.secret), []byte(password)) != 1 {
		return Identity{}, ErrSecret
	}
	return k.who, nil
}

// Token implements Directory: a file knows no tokens.
func (u *Users) Token(context.Context, string) (Identity, error) { return Identity{}, ErrNoIdentity }

// Account implements Directory.
func (u *Users) Account(_ context.Context, idOrEmail string) (Identity, error) {
	who, ok := u.addresses[idOrEmail]
	if !ok {
		return Identity{}, ErrNoIdentity
	}
	return who, nil
}
