package seal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"polder.dev/polder/storage"
)

// What a sealed object's storage.Meta.System holds.
const (
	keyBox   = storage.SystemSeal // JSON of box
	keyParts = "seal.parts"       // of an object made of parts: sizes and salts
)

// KeyBytes is the length of all keys.
const KeyBytes = 32

// Kind says whose key wraps an object's.
type Kind string

const (
	Customer Kind = "customer" // the client's, sent each time
	Server   Kind = "server"   // the one that the Keyring chooses
	Named    Kind = "named"    // the Keyring's, of a name that the client chose
)

// The kinds of failure.
var (
	// ErrNeeded says that an object is sealed with a client's key and none came.
	ErrNeeded = fmt.Errorf("%w: the object is sealed with a key of its client, which must be sent", storage.ErrInvalid)
	// ErrKey says that the key which came is not the object's, ErrNeedless that the
	// object has none of a client.
	ErrKey      = errors.New("the key is not the one that the object is sealed with")
	ErrNeedless = errors.New("the object is not sealed with a key of its client")
	// ErrNoKey says that the Keyring does not have a key.
	ErrNoKey = errors.New("no such key")
)

// Keyring has the server's keys.
type Keyring interface {
	// Current names the key that seals what is written to a bucket, by its settings.
	Current(s storage.Settings) (id string, err error)
	// Key returns a key of KeyBytes by its name, or ErrNoKey.
	Key(ctx context.Context, id string) ([]byte, error)
}

// box is what is kept of an object's key.
type box struct {
	Kind    Kind   `json:"kind"`
	ID      string `json:"id,omitempty"` // of the Keyring's key
	Nonce   []byte `json:"nonce"`
	Wrapped []byte `json:"wrapped"`
}

// bind is what a wrapped key is bound to.
func (b *box) bind() []byte { return []byte("polder seal 1\x00" + string(b.Kind) + "\x00" + b.ID) }

func gcm(key []byte) (cipher.AEAD, error) {
	if len(key) != KeyBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, not %d", ErrKey, len(key), KeyBytes)
	}
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(c)
}

// Lock says in metadata that the object is to be sealed by a key: the client's own for
// Customer, where id is "", or the Keyring's.
func Lock(m *storage.Meta, kind Kind, id string, key []byte) error {
	_, err := lock(m, kind, id, key)
	return err
}

// lock puts a new data key into metadata, wrapped.
func lock(m *storage.Meta, kind Kind, id string, key []byte) ([]byte, error) {
	a, err := gcm(key)
	if err != nil {
		return nil, err
	}
	b := box{Kind: kind, ID: id, Nonce: make([]byte, a.NonceSize())}
	data := make([]byte, KeyBytes)
	_, _ = rand.Read(b.Nonce) // never fails
	_, _ = rand.Read(data)
	b.Wrapped = a.Seal(nil, b.Nonce, data, b.bind())
	text, err := json.Marshal(&b)
	if err != nil {
		return nil, fmt.Errorf("keeping a sealed key: %w", err)
	}
	if m.System == nil {
		m.System = map[string]string{}
	}
	delete(m.System, keyParts)
	m.System[keyBox] = string(text)
	return data, nil
}

// Clear takes out of metadata what another object's sealing left there.
func Clear(m *storage.Meta) {
	delete(m.System, keyBox)
	delete(m.System, keyParts)
}

// Sealed says how an object is sealed, and by which of the Keyring's keys; "" is not.
func Sealed(m *storage.Meta) (Kind, string) {
	b, err := boxOf(m)
	if err != nil {
		return Server, "" // it is, and nobody can open it
	}
	if b == nil {
		return "", ""
	}
	return b.Kind, b.ID
}

func boxOf(m *storage.Meta) (*box, error) {
	text := m.System[keyBox]
	if text == "" {
		return nil, nil
	}
	b := &box{}
	if err := json.Unmarshal([]byte(text), b); err != nil {
		return nil, fmt.Errorf("%w: a sealed key cannot be read: %w", storage.ErrCorrupt, err)
	}
	return b, nil
}

// Opener opens what is sealed: with a Keyring, which may be nil, and with the key that a
// client sent, or nil.
type Opener struct {
	Keys     Keyring
	Customer []byte
}

// unwrap returns the data key; nil of what is not sealed.
func (o Opener) unwrap(ctx context.Context, m *storage.Meta) ([]byte, error) {
	b, err := boxOf(m)
	if err != nil {
		return nil, err
	}
	if b == nil {
		if o.Customer != nil {
			return nil, ErrNeedless
		}
		return nil, nil
	}
	key, err := o.wrapper(ctx, b)
	if err != nil {
		return nil, err
	}
	a, err := gcm(key)
	if err != nil {
		return nil, err
	}
	if len(b.Nonce) != a.NonceSize() {
		return nil, fmt.Errorf("%w: a sealed key has a nonce of %d bytes", storage.ErrCorrupt, len(b.Nonce))
	}
	data, err := a.Open(nil, b.Nonce, b.Wrapped, b.bind())
	if err != nil || len(data) != KeyBytes {
		return nil, ErrKey
	}
	return data, nil
}

// wrapper is the key that wraps an object's.
func (o Opener) wrapper(ctx context.Context, b *box) ([]byte, error) {
	switch {
	case b.Kind == Customer && o.Customer == nil:
		return nil, ErrNeeded
	case b.Kind == Customer:
		return o.Customer, nil
	case o.Customer != nil:
		return nil, ErrNeedless
	case o.Keys == nil:
		return nil, fmt.Errorf("key %q: %w", b.ID, ErrNoKey)
	}
	key, err := o.Keys.Key(ctx, b.ID)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", b.ID, err)
	}
	return key, nil
}

// relock gives metadata that says how to seal a data key of its own, whatever key came
// along: no two objects share one.
func (o Opener) relock(ctx context.Context, m *storage.Meta) ([]byte, error) {
	b, err := boxOf(m)
	if err != nil || b == nil {
		return nil, err
	}
	key, err := o.wrapper(ctx, b)
	if err != nil {
		return nil, err
	}
	m.System = maps.Clone(m.System)
	return lock(m, b.Kind, b.ID, key)
}

// Check says whether an object could be opened, without opening it.
func (o Opener) Check(ctx context.Context, m *storage.Meta) error {
	_, err := o.unwrap(ctx, m)
	return err
}
