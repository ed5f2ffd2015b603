package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/storage"
	"polder.dev/polder/storage/seal"
)

// openKeys is the keyring of a configuration.
func openKeys(cfg Config) (seal.Keyring, error) {
	if cfg.KeysFile == "" {
		return newKeyring(filepath.Join(cfg.Dir, "keys"), jurisdictionOf), nil
	}
	b, err := os.ReadFile(cfg.KeysFile)
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	k, err := seal.ParseKeys(b, jurisdictionOf)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.KeysFile, err)
	}
	return k, nil
}

// keyring is the store's keys, a file each, below the data directory: one for every
// jurisdiction, so that what is under one law can be given up by giving up one key.
type keyring struct {
	dir string
	of  func(storage.Settings) string // the jurisdiction of a bucket

	mu   sync.Mutex
	keys map[string][]byte
}

var _ seal.Keyring = (*keyring)(nil)

// keyNone is the key of buckets without a jurisdiction.
const keyNone = "none"

// keyName is that of a jurisdiction, which may be a path: eu/de.
var keyName = regexp.MustCompile(`^[a-z0-9-]+(/[a-z0-9-]+)*$`)

func newKeyring(dir string, of func(storage.Settings) string) *keyring {
	return &keyring{dir: dir, of: of, keys: map[string][]byte{}}
}

// Current implements seal.Keyring. A jurisdiction's key is made when it is first needed.
func (k *keyring) Current(s storage.Settings) (string, error) {
	id := k.of(s)
	if id == "" {
		id = keyNone
	}
	_, err := k.key(id, true)
	return id, err
}

// Key implements seal.Keyring.
func (k *keyring) Key(_ context.Context, id string) ([]byte, error) { return k.key(id, false) }

func (k *keyring) key(id string, create bool) ([]byte, error) {
	if !keyName.MatchString(id) || len(id) > 128 {
		return nil, fmt.Errorf("key %q: %w", id, seal.ErrNoKey)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if b, ok := k.keys[id]; ok {
		return b, nil
	}
	path := filepath.Join(k.dir, strings.ReplaceAll(id, "/", ".")+".key")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && create {
		b = make([]byte, seal.KeyBytes)
		_, _ = rand.Read(b) // never fails
		if err = os.MkdirAll(k.dir, 0o700); err == nil {
			err = pki.WriteFile(path, b)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("key %s: %w", id, seal.ErrNoKey)
	case err != nil:
		return nil, fmt.Errorf("reading key %s: %w", id, err)
	case len(b) != seal.KeyBytes:
		return nil, fmt.Errorf("key %s: its file has %d bytes, not %d", id, len(b), seal.KeyBytes)
	}
	k.keys[id] = b
	return b, nil
}

// jurisdictionOf is that of a bucket; "" is none.
func jurisdictionOf(s storage.Settings) string { return s.Residency.Home }
