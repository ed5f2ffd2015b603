package server

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/seal"
)

func TestKeyring(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	of := func(s storage.Settings) string { return s.Labels["law"] }
	k := newKeyring(dir, of)
	if _, err := k.Key(t.Context(), "eu/nl"); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("a key that nobody needed yet: %v", err)
	}
	nl := storage.Settings{Labels: map[string]string{"law": "eu/nl"}}
	keys := map[string]string{}
	for _, s := range []storage.Settings{nl, {}, nl} {
		id, err := k.Current(s)
		if err != nil {
			t.Fatal(err)
		}
		b, err := newKeyring(dir, of).Key(t.Context(), id) // after a restart
		if err != nil || len(b) != seal.KeyBytes {
			t.Errorf("key %s: %d bytes, %v", id, len(b), err)
		}
		keys[id] = string(b)
	}
	if len(keys) != 2 || keys["eu/nl"] == keys[keyNone] {
		t.Errorf("%d keys for two jurisdictions", len(keys))
	}
	if i, err := os.Stat(filepath.Join(dir, "eu.nl.key")); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("the file of a key: %v, %v", i, err)
	}
	for _, bad := range []string{"", "../nl", "a//b", "..", "A"} {
		if _, err := k.Key(t.Context(), bad); !errors.Is(err, seal.ErrNoKey) {
			t.Errorf("key %q: %v", bad, err)
		}
	}
}
