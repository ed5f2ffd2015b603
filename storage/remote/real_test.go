package remote_test

import (
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/remote"
	"polder.dev/polder/storage/storagetest"
)

// A server that others wrote is named as http://KEY:SECRET@HOST, of Swift with the path
// of its TempAuth.
const (
	realS3    = "POLDER_TEST_S3"
	realSwift = "POLDER_TEST_SWIFT"
)

func named(t *testing.T, variable string) (endpoint, user, secret string) {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		t.Skip(variable, "names no server")
	}
	u, err := url.Parse(v)
	if err != nil || u.User == nil {
		t.Fatal(variable, "is no URL with a user")
	}
	secret, _ = u.User.Password()
	user, u.User = u.User.Username(), nil
	return u.String(), user, secret
}

func realLimits(skip map[string]string) storagetest.Limits {
	for _, g := range []string{"abandoned uploads", "expiry"} {
		skip[g] = "it is about time, and the server's clock is its own"
	}
	return storagetest.Limits{
		Far: true, MetaBytesMax: 900, Usage: "servers count in ways of their own", Clock: "the server's", Replaced: remote.ErrReplaced, Skip: skip,
	}
}

func ownPrefix() string { return "z" + strings.ToLower(rand.Text()[:10]) + "-" }

// TestRealS3 runs the suite against an S3 server that others wrote.
func TestRealS3(t *testing.T) {
	at, key, secret := named(t, realS3)
	storagetest.RunWithin(t, func(t *testing.T, _ func() time.Time) storage.Store {
		return newS3(t, remote.S3{Endpoint: at, Region: "us-east-1", AccessKey: key, SecretKey: secret, Common: remote.Common{Layout: remote.Layout{Prefix: ownPrefix()}}})
	}, realLimits(limitsS3()))
}

// TestRealSwift runs the suite against a Swift that others wrote.
func TestRealSwift(t *testing.T) {
	at, user, secret := named(t, realSwift)
	storagetest.RunWithin(t, func(t *testing.T, _ func() time.Time) storage.Store {
		return newSwift(t, remote.Swift{AuthURL: at, AuthVersion: 1, User: user, Password: secret, Common: remote.Common{Layout: remote.Layout{Prefix: ownPrefix()}}})
	}, realLimits(limitsSwift()))
}
