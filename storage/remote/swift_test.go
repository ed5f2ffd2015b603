package remote_test

import (
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/remote"
	"polder.dev/polder/storage/storagetest"
	"polder.dev/polder/storage/swift"
)

// swiftWorld is a Swift door over memory.
func swiftWorld(t testing.TB, now func() time.Time) (remote.Swift, storage.Store) {
	t.Helper()
	m := mem.New(0, now)
	t.Cleanup(func() { _ = m.Close() })
	users, err := iam.NewUsers([]iam.User{{Account: "test", Name: "tester", Password: "the-secret", Roles: []string{"admin"}}})
	if err != nil {
		t.Fatal(err)
	}
	space, err := naming.Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	door, err := swift.New(t.Context(), swift.Config{Space: space, Directory: users, Log: slog.New(slog.DiscardHandler), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(door)
	t.Cleanup(h.Close)
	return remote.Swift{AuthURL: h.URL + "/auth/v1.0", AuthVersion: 1, User: "test:tester", Password: "the-secret", Common: remote.Common{
		Now: now, Timeout: 20 * time.Second, Backoff: time.Millisecond,
	}}, m
}

func newSwift(t testing.TB, c remote.Swift) *remote.Store {
	t.Helper()
	s, err := remote.NewSwift(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSwift(t *testing.T) {
	storagetest.RunWithin(t, func(t *testing.T, now func() time.Time) storage.Store {
		c, _ := swiftWorld(t, now)
		return newSwift(t, c)
	}, storagetest.Limits{
		Far: true, MetaBytesMax: 1500, Usage: "Swift counts parts as objects of another container", Replaced: remote.ErrReplaced,
		Skip: limitsSwift(),
	})
}

// limitsSwift are the groups of the suite that cannot hold, and why.
func limitsSwift() map[string]string {
	return map[string]string{
		"versions":               "only S3's versions are spoken",
		"suspended versions":     "only S3's versions are spoken",
		"pages of versions":      "only S3's versions are spoken",
		"random against a model": "it is about versions",
		"guards":                 "it is about versions",
		"locks":                  "a lock that others can take away from the remote container is none",
		"usage":                  "it is about versions",
		"expiry":                 "the remote's own sweep removes what has expired, and counts elsewhere",
		"plain ETags":            "ETags of equal bodies are alike",
	}
}
