package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/s3/sigv4"
)

var handedOver = strings.Repeat("0123456789", 50_000)

// TestLodger: a lodger reads and writes its bucket, and nothing else, by its socket; and
// nobody else has its key.
func TestLodger(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	for i := range 2 { // the bucket is there the second time
		s, url, stop := run(t, cfg)
		l := Lodger{Account: "cloud", User: "registry", AccessKey: "registry", Secret: "a secret", Bucket: "blobs", Socket: filepath.Join(cfg.Dir, "r.sock"), Handovers: filepath.Join(cfg.Dir, "in")}
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
		ask := func(c *http.Client, base, method, path, body, secret string, want int, header ...string) string {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			signer := sigv4.Signer{AccessKey: l.AccessKey, Secret: secret, Region: "us-east-1"}
			if err := signer.Sign(r, "UNSIGNED-PAYLOAD", time.Now()); err != nil {
				t.Fatal(err)
			}
			resp, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			if resp.Body.Close(); resp.StatusCode != want || err != nil {
				t.Errorf("%s %s: %s, want %d: %.200s, %v", method, path, resp.Status, want, got, err)
			}
			return string(got)
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

		file := func(name string) {
			if err := os.WriteFile(filepath.Join(cfg.Dir, name), []byte(handedOver), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var sums storage.Sums
		_, _ = sums.Write([]byte(handedOver))
		h := string((&storage.Handover{Size: sums.Size, Sums: sums.Blocks}).Encode())
		for name, want := range map[string]int{"up/data": 200, "up/none": 400, "../outside": 400, "up": 400, "up/link": 400} {
			file("outside")
			if err := errors.Join(os.RemoveAll(filepath.Join(l.Handovers, "up")), os.MkdirAll(filepath.Join(l.Handovers, "up"), 0o700)); err != nil {
				t.Fatal(err)
			}
			file("in/up/data")
			if err := os.Symlink("data", filepath.Join(l.Handovers, "up", "link")); err != nil {
				t.Fatal(err)
			}
			ask(by, "http://store", "PUT", "/blobs/h", h, l.Secret, want, storage.HandoverHeader, name)
			_, err := os.Stat(filepath.Join(l.Handovers, "up", "data"))
			if taken := errors.Is(err, os.ErrNotExist); taken != (want == 200) {
				t.Errorf("%s: the file is taken: %v, %v", name, taken, err)
			}
		}
		file("in/up/data")
		ask(by, "http://store", "PUT", "/blobs/h", h[1:], l.Secret, 400, storage.HandoverHeader, "up/data")
		ask(by, "http://store", "PUT", "/blobs/h", h+"more", l.Secret, 400, storage.HandoverHeader, "up/data")
		ask(by, "http://store", "PUT", "/blobs/h", h, "another", 403, storage.HandoverHeader, "up/data")
		ask(http.DefaultClient, url, "PUT", "/data/k", h, l.Secret, 403, storage.HandoverHeader, "up/data")
		owner.s3("PUT", "/data/k", h, 405, storage.HandoverHeader, "up/data") // nobody else shares a directory
		if got := ask(by, "http://store", "GET", "/blobs/h", "", l.Secret, 200); got != handedOver {
			t.Errorf("of what was handed over %d bytes are there", len(got))
		}
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
		stop()
	}
}
