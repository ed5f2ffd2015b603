package iam

import (
	"context"
	"errors"
)

// Chain asks several Directories, one after the other, until one knows. An error other
// than ErrNoIdentity ends it: what cannot be asked must not be taken for nobody.
type Chain []Directory

var _ Directory = Chain(nil)

// Key implements Directory.
func (c Chain) Key(ctx context.Context, accessKey string) (who Identity, secret string, err error) {
	err = c.each(func(d Directory) error {
		who, secret, err = d.Key(ctx, accessKey)
		return err
	})
	return who, secret, err
}

// Password implements Directory.
func (c Chain) Password(ctx context.Context, name, password string) (who Identity, err error) {
	err = c.each(func(d Directory) error {
		who, err = d.Password(ctx, name, password)
		return err
	})
	return who, err
}

// Token implements Directory.
func (c Chain) Token(ctx context.Context, token string) (who Identity, err error) {
	err = c.each(func(d Directory) error {
		who, err = d.Token(ctx, token)
		return err
	})
	return who, err
}

// Account implements Directory.
func (c Chain) Account(ctx context.Context, idOrEmail string) (who Identity, err error) {
	err = c.each(func(d Directory) error {
		who, err = d.Account(ctx, idOrEmail)
		return err
	})
	return who, err
}

func (c Chain) each(ask func(Directory) error) error {
	for _, d := range c {
		if err := ask(d); !errors.Is(err, ErrNoIdentity) {
			return err
		}
	}
	return ErrNoIdentity
}
