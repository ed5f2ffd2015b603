// Package tempauth makes and reads the tokens of Swift's TempAuth (auth/v1.0). A token
// says who bears it and until when, and is signed, so that it needs no table and is good
// after a restart. Only the Swift door imports it.
//
// It refuses to know passwords: an iam.Directory does.
package tempauth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
)

// Prefix begins every token, so that others' are told apart.
const Prefix = "AUTH_tk"

// Signer makes tokens. It may be used at once by many.
type Signer struct {
	key  []byte
	now  func() time.Time
	life time.Duration
}

// New makes a Signer of a secret of at least 16 bytes.
func New(key []byte, life time.Duration, now func() time.Time) (*Signer, error) {
	if len(key) < 16 {
		return nil, fmt.Errorf("%w: a key for tokens has at least 16 bytes, not %d", storage.ErrInvalid, len(key))
	}
	return &Signer{key: key, now: now, life: life}, nil
}

// The bucket and the object that keep the key.
const (
	bucketName = ".tempauth"
	keyName    = "key"
	keyBytes   = 32
)

// Key reads the store's own key, and makes it when there is none.
func Key(ctx context.Context, s storage.Store) ([]byte, error) {
	b, err := s.Bucket(ctx, bucketName)
	if errors.Is(err, storage.ErrNoBucket) {
		if b, err = s.CreateBucket(ctx, bucketName, storage.Settings{}); errors.Is(err, storage.ErrBucketExists) {
			b, err = s.Bucket(ctx, bucketName)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key of tokens: %w", err)
	}
	fresh := make([]byte, keyBytes)
	if _, err := rand.Read(fresh); err != nil {
		return nil, fmt.Errorf("making a key of tokens: %w", err)
	}
	_, err = b.Put(ctx, keyName, strings.NewReader(string(fresh)), storage.PutOptions{If: storage.Conditions{NoneMatch: []string{"*"}}})
	if err != nil && !errors.Is(err, storage.ErrPrecondition) {
		return nil, fmt.Errorf("keeping the key of tokens: %w", err)
	}
	o, err := b.Open(ctx, keyName, storage.ReadOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the key of tokens: %w", err)
	}
	defer func() { _ = o.Close() }() // it was only read
	key, err := io.ReadAll(storage.Reader(o, 0, o.Info().Size))
	if err != nil {
		return nil, fmt.Errorf("reading the key of tokens: %w", err)
	}
	return key, nil
}

// claim is what a token says.
type claim struct {
	Until    int64    `json:"t"`
	Account  string   `json:"a"`
	User     string   `json:"u"`
	Name     string   `json:"n,omitempty"`
	Email    string   `json:"e,omitempty"`
	Admin    bool     `json:"ad,omitempty"`
	Operator bool     `json:"op,omitempty"`
	Service  bool     `json:"sv,omitempty"`
	Groups   []string `json:"g,omitempty"`
}

// Issue makes a token for an identity, and says how long it is good.
func (s *Signer) Issue(who iam.Identity) (token string, life time.Duration) {
	c := claim{
		Until: s.now().Add(s.life).Unix(), Account: who.Account, User: who.User, Name: who.DisplayName, Email: who.Email,
		Admin: who.Admin, Operator: who.Operator, Service: who.Service, Groups: who.Groups,
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic("tempauth: a claim of texts cannot fail to encode: " + err.Error())
	}
	return Prefix + encoding.EncodeToString(append(s.sum(b), b...)), s.life
}

func (s *Signer) sum(b []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write(b)
	return h.Sum(nil)
}

// encoding has one form for each token.
var encoding = base64.RawURLEncoding.Strict()

const tokenBytesMax = 8 << 10

// Read returns who bears a token, or iam.ErrNoIdentity.
func (s *Signer) Read(token string) (iam.Identity, error) {
	text, ok := strings.CutPrefix(token, Prefix)
	if !ok || len(token) > tokenBytesMax {
		return iam.Identity{}, iam.ErrNoIdentity
	}
	b, err := encoding.DecodeString(text)
	if err != nil || len(b) <= sha256.Size {
		return iam.Identity{}, iam.ErrNoIdentity
	}
	mac, b := b[:sha256.Size], b[sha256.Size:]
	if !hmac.Equal(mac, s.sum(b)) {
		return iam.Identity{}, iam.ErrNoIdentity
	}
	var c claim
	if err := json.Unmarshal(b, &c); err != nil || s.now().Unix() >= c.Until {
		return iam.Identity{}, iam.ErrNoIdentity
	}
	return iam.Identity{
		Account: c.Account, User: c.User, DisplayName: c.Name, Email: c.Email,
		Admin: c.Admin, Operator: c.Operator, Service: c.Service, Groups: c.Groups,
	}, nil
}
