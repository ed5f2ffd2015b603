package seal

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"polder.dev/polder/storage"
)

// Keys is a Keyring of what a file says. It does not change.
type Keys struct {
	all     map[string][]byte
	current map[string]string // by jurisdiction
	of      func(storage.Settings) string
}

var _ Keyring = (*Keys)(nil)

// ParseKeys reads YAML with a list under "keys", each with an id, a key of 32 bytes in
// base64, and the jurisdictions whose buckets it seals; "" among them is that of buckets
// that have none. The key of "eu" is for "eu/de" as well, unless that has its own. Keys
// without any only open what they sealed before. of tells a bucket's jurisdiction.
func ParseKeys(data []byte, of func(storage.Settings) string) (*Keys, error) {
	var f struct {
		Keys []struct {
			ID            string   `json:"id"`
			Key           string   `json:"key"`
			Jurisdictions []string `json:"jurisdictions"`
		} `json:"keys"`
	}
	if err := yaml.UnmarshalStrict(data, &f); err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	k := &Keys{all: map[string][]byte{}, current: map[string]string{}, of: of}
	for i, e := range f.Keys {
		raw, err := base64.StdEncoding.DecodeString(e.Key)
		switch {
		case e.ID == "":
			return nil, fmt.Errorf("keys[%d].id: is missing", i)
		case k.all[e.ID] != nil:
			return nil, fmt.Errorf("keys[%d].id: %s is there twice", i, e.ID)
		case err != nil || len(raw) != KeyBytes:
			return nil, fmt.Errorf("keys[%d].key: must be %d bytes in base64", i, KeyBytes)
		}
		k.all[e.ID] = raw
		for _, j := range e.Jurisdictions {
			if other, ok := k.current[j]; ok {
				return nil, fmt.Errorf("keys[%d].jurisdictions: %q has the key %s already", i, j, other)
			}
			k.current[j] = e.ID
		}
	}
	return k, nil
}

// Current implements Keyring. A bucket whose jurisdiction has no key has none.
func (k *Keys) Current(s storage.Settings) (string, error) {
	all := k.of(s)
	for j := all; ; {
		if id, ok := k.current[j]; ok {
			return id, nil
		}
		i := strings.LastIndexByte(j, '/')
		if i < 0 {
			return "", fmt.Errorf("jurisdiction %q: %w", all, ErrNoKey)
		}
		j = j[:i]
	}
}

// Key implements Keyring.
func (k *Keys) Key(_ context.Context, id string) ([]byte, error) {
	key, ok := k.all[id]
	if !ok {
		return nil, ErrNoKey
	}
	return slices.Clone(key), nil
}
