package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/remote"
)

// TestTemporary proves that what fails for a while is tried again, and what is for good
// is not.
func TestTemporary(t *testing.T) {
	both(t, same, func(t *testing.T, s *remote.Store, b *between, _ storage.Store) {
		bk := makeBucket(t, s, "bucket")
		store(t, bk, "k", []byte("body"), storage.PutOptions{})
		var left atomic.Int64
		status := http.StatusServiceUnavailable
		b.say(func(w http.ResponseWriter, r *http.Request) bool {
			if left.Add(-1) < 0 {
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body) // a server that is busy reads all the same
			w.WriteHeader(status)
			return true
		})
		left.Store(2)
		if got, err := load(bk, "k"); err != nil || string(got) != "body" {
			t.Errorf("%q, %v", got, err)
		}
		left.Store(2)
		store(t, bk, "k", []byte("again"), storage.PutOptions{})
		left.Store(1000)
		_, err := bk.Stat(t.Context(), "k", storage.ReadOptions{})
		if !errors.Is(err, storage.ErrUnavailable) || 1000-left.Load() != 4 {
			t.Errorf("%v after %d requests", err, 1000-left.Load())
		}
		status = http.StatusForbidden
		left.Store(1000)
		_, err = bk.Stat(t.Context(), "k", storage.ReadOptions{})
		if !errors.Is(err, storage.ErrUnavailable) || !remote.IsPermanent(err) || 1000-left.Load() != 1 {
			t.Errorf("%v after %d requests", err, 1000-left.Load())
		}
	})
}

// TestCut ends answers in the middle, and damages one.
func TestCut(t *testing.T) {
	both(t, same, func(t *testing.T, s *remote.Store, b *between, m storage.Store) {
		bk := makeBucket(t, s, "bucket")
		body := pattern(700_000)
		i := store(t, bk, "k", body, storage.PutOptions{})
		cuts := 2
		b.say(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || r.Header.Get("Range") == "" || cuts == 0 {
				return false
			}
			cuts--
			first, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")
			off, err := strconv.Atoi(first)
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("Etag", `"`+i.ETag+`"`)
			w.Header().Set("Content-Range", strings.Replace(r.Header.Get("Range"), "=", " ", 1)+"/700000")
			w.Header().Set("Content-Length", strconv.Itoa(len(body)-off))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(body[off : off+300_000])
			panic(http.ErrAbortHandler)
		})
		if got, err := load(bk, "k"); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		damaged := bytes.Clone(body)
		damaged[600_000]++
		b.say(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || r.Header.Get("Range") == "" {
				return false
			}
			w.Header().Set("Etag", `"`+i.ETag+`"`)
			w.Header().Set("Content-Range", strings.Replace(r.Header.Get("Range"), "=", " ", 1)+"/700000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(damaged)
			return true
		})
		if _, err := load(bk, "k"); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("damaged bytes gave %v", err)
		}
	})
}

// TestStalled proves that nobody waits for ever, and that a client who goes is heeded.
func TestStalled(t *testing.T) {
	quick := func(c *remote.Common) { c.Timeout, c.Tries = time.Second, 1 }
	both(t, quick, func(t *testing.T, s *remote.Store, b *between, _ storage.Store) {
		bk := makeBucket(t, s, "bucket")
		store(t, bk, "k", []byte("body"), storage.PutOptions{})
		end := make(chan struct{})
		defer close(end)
		b.say(func(_ http.ResponseWriter, r *http.Request) bool {
			select {
			case <-r.Context().Done():
			case <-end:
			}
			return true
		})
		_, err := bk.Stat(t.Context(), "k", storage.ReadOptions{})
		if !errors.Is(err, storage.ErrUnavailable) || remote.IsPermanent(err) {
			t.Errorf("a remote that hangs gave %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		if _, err := bk.Stat(ctx, "k", storage.ReadOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("a client that went gave %v", err)
		}
	})
}

// TestGone speaks to nobody.
func TestGone(t *testing.T) {
	for _, s := range []*remote.Store{
		newS3(t, remote.S3{Endpoint: "http://127.0.0.1:1", Region: "x", AccessKey: "KEY", SecretKey: "the-secret", Common: remote.Common{Tries: 2, Backoff: time.Millisecond}}),
		newSwift(t, remote.Swift{AuthURL: "http://127.0.0.1:1/auth/v1.0", AuthVersion: 1, User: "u", Password: "the-secret", Common: remote.Common{Tries: 2, Backoff: time.Millisecond}}),
	} {
		_, err := s.Bucket(t.Context(), "bucket")
		if !errors.Is(err, storage.ErrUnavailable) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	}
}

// TestSecrets proves that errors hold no credentials, whatever the remote says.
func TestSecrets(t *testing.T) {
	both(t, same, func(t *testing.T, s *remote.Store, b *between, _ storage.Store) {
		b.say(func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusForbidden)
			return true
		})
		_, err := s.CreateBucket(t.Context(), "bucket", storage.Settings{})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	})
}
