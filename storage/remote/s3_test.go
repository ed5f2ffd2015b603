package remote_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/remote"
	"polder.dev/polder/storage/s3"
	"polder.dev/polder/storage/storagetest"
)

// s3World is an S3 door over memory, and what is told to whoever keeps objects there.
func s3World(t testing.TB, now func() time.Time) (remote.S3, storage.Store) {
	t.Helper()
	m := mem.New(0, now)
	t.Cleanup(func() { _ = m.Close() })
	users, err := iam.NewUsers([]iam.User{{Account: "main", Name: "root", AccessKey: "KEY", SecretKey: "the-secret", Roles: []string{"admin"}}})
	if err != nil {
		t.Fatal(err)
	}
	space, err := naming.Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	door, err := s3.New(s3.Config{Space: space, Directory: users})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(door)
	t.Cleanup(h.Close)
	return remote.S3{Endpoint: h.URL, Region: "us-east-1", AccessKey: "KEY", SecretKey: "the-secret", Common: remote.Common{
		Now: now, Timeout: 20 * time.Second, Backoff: time.Millisecond,
	}}, m
}

func newS3(t testing.TB, c remote.S3) *remote.Store {
	t.Helper()
	s, err := remote.NewS3(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestS3(t *testing.T) {
	storagetest.RunWithin(t, func(t *testing.T, now func() time.Time) storage.Store {
		c, _ := s3World(t, now)
		c.Layout.Prefix = "own-"
		return newS3(t, c)
	}, storagetest.Limits{
		Far: true, MetaBytesMax: 900, Usage: "S3 counts nothing", Replaced: remote.ErrReplaced,
		Skip: limitsS3(),
	})
}

// limitsS3 are the groups of the suite that cannot hold, and why.
func limitsS3() map[string]string {
	return map[string]string{
		"locks":       "a lock that others can take away from the remote bucket is none",
		"expiry":      "S3 has no time at which an object ends",
		"usage":       "S3 counts nothing",
		"plain ETags": "ETags of equal bodies are alike",
	}
}
