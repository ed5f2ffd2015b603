package server

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage/s3/sigv4"
)

// TestLodger: a lodger reads and writes its bucket, and nothing else, by its socket; and
// nobody else has its key.
func TestLodger(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	for i := range 2 { // the bucket is there the second time
		s, url, stop := run(t, cfg)
		l := Lodger{Account: "cloud", User: "registry", AccessKey: "registry", Secret: "a secret", Bucket: "blobs", Socket: filepath.Join(cfg.Dir, "r.sock")}
		ctx, cancel := context.WithCancel(t.Context())
		up, over := make(chan struct{}), make(chan error, 1)
		go func() { over <- s.Lodge(ctx, l, func() { close(up) }) }()
		<-up
		if i, err := os.Stat(l.Socket); err != nil || i.Mode().Perm() != 0o600 {
			t.Errorf("the socket: %v, %v", i.Mode(), err)
		}
		by := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", l.Socket)
		}}}
		ask := func(c *http.Client, base, method, path, body, secret string, want int) {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			signer := sigv4.Signer{AccessKey: l.AccessKey, Secret: secret, Region: "us-east-1"}
			if err := signer.Sign(r, "UNSIGNED-PAYLOAD", time.Now()); err != nil {
				t.Fatal(err)
			}
			resp, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if resp.Body.Close(); resp.StatusCode != want {
				t.Errorf("%s %s: %s, want %d", method, path, resp.Status, want)
			}
		}
		owner := newClient(t, url)
		if i == 0 {
			owner.s3("PUT", "/data", "", 200)
		}
		owner.s3("PUT", "/data/k", "a's", 200)
		ask(by, "http://store", "PUT", "/blobs/k", "mine", l.Secret, 200)
		ask(by, "http://store", "GET", "/blobs/k", "", l.Secret, 200)
		ask(by, "http://store", "GET", "/blobs", "", l.Secret, 200)
		ask(by, "http://store", "GET", "/blobs/k", "", "another", 403)
		ask(by, "http://store", "GET", "/data/k", "", l.Secret, 403)
		ask(by, "http://store", "PUT", "/data/k", "x", l.Secret, 403)
		ask(by, "http://store", "PUT", "/more", "", l.Secret, 403)
		ask(by, "http://store", "DELETE", "/blobs", "", l.Secret, 403)
		ask(by, "http://store", "PUT", "/blobs?policy", "{}", l.Secret, 403)
		ask(http.DefaultClient, url, "GET", "/blobs/k", "", l.Secret, 403) // the other door does not know the key
		owner.s3("GET", "/blobs/k", "", 403)
		ask(by, "http://store", "DELETE", "/blobs/k", "", l.Secret, 204)
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
		stop()
	}
}
