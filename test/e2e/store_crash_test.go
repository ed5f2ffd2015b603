//go:build e2e

package e2e

import (
	"context"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// writer writes and deletes objects of its own, through one of the doors, and knows what
// each may be: what was acknowledged last, or what nobody answered to.
type writer struct {
	s       *store
	id      int
	rand    *rand.Rand
	acked   map[string]string // MD5 by key; "" is none
	pending map[string]string
	writes  int
}

// at is the path of a key: even writers go through S3, as anybody, and odd ones through
// Swift.
func (w *writer) at(key string) string {
	if w.id%2 == 0 {
		return "/crash/" + key
	}
	return "/v1/AUTH_test/crash/" + key
}

// run writes until ctx ends or the store does.
func (w *writer) run(ctx context.Context) error {
	for ctx.Err() == nil {
		key := fmt.Sprintf("w%d/%02d", w.id, w.rand.IntN(40))
		size := w.rand.IntN(8 << 10)
		if w.rand.IntN(20) == 0 {
			size = 100<<10 + w.rand.IntN(1<<20) // a file of its own
		}
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(w.rand.Uint32())
		}
		method, sum := http.MethodPut, fmt.Sprintf("%x", md5.Sum(body))
		if w.rand.IntN(8) == 0 {
			method, sum, body = http.MethodDelete, "", nil
		}
		w.pending[key] = sum
		resp, text, err := w.s.send(ctx, method, w.at(key), body, "X-Auth-Token", w.s.token)
		if err != nil {
			return nil // the store was killed; whether it came is seen later
		}
		switch got := strings.Trim(resp.Header.Get("ETag"), `"`); {
		case resp.StatusCode == http.StatusNotFound && method == http.MethodDelete:
		case resp.StatusCode/100 != 2:
			return fmt.Errorf("%s %s: %s %s", method, key, resp.Status, text)
		case method == http.MethodPut && got != sum:
			return fmt.Errorf("PUT %s: ETag %s, want %s", key, got, sum)
		}
		w.acked[key] = sum
		delete(w.pending, key)
		w.writes++
	}
	return nil
}

// check compares the store with what w knows, through the other door than w's.
func (w *writer) check(ctx context.Context, listed map[string]string) error {
	other := writer{id: w.id + 1}
	for key := range merged(w.acked, w.pending) {
		resp, body, err := w.s.send(ctx, http.MethodGet, other.at(key), nil, "X-Auth-Token", w.s.token)
		if err != nil {
			return err
		}
		got := ""
		switch resp.StatusCode {
		case http.StatusOK:
			got = fmt.Sprintf("%x", md5.Sum(body))
			if tag := strings.Trim(resp.Header.Get("ETag"), `"`); tag != got {
				return fmt.Errorf("%s: ETag %s of bytes with MD5 %s", key, tag, got)
			}
		case http.StatusNotFound:
		default:
			return fmt.Errorf("GET %s: %s %s", key, resp.Status, body)
		}
		if listed[key] != got {
			return fmt.Errorf("%s: listed as %q, and read as %q", key, listed[key], got)
		}
		maybe, unknown := w.pending[key]
		if got != w.acked[key] && !(unknown && got == maybe) {
			return fmt.Errorf("%s: MD5 %q; %q was acknowledged, and %q was sent (%v)", key, got, w.acked[key], maybe, unknown)
		}
		w.acked[key] = got
		delete(w.pending, key)
	}
	return nil
}

func merged(a, b map[string]string) map[string]bool {
	out := map[string]bool{}
	for k := range a {
		out[k] = true
	}
	for k := range b {
		out[k] = true
	}
	return out
}

// list is the MD5 of each object of a container.
func (s *store) list(ctx context.Context, container string) (map[string]string, error) {
	out := map[string]string{}
	marker := ""
	for {
		var page []struct{ Name, Hash string }
		_, b, err := s.swift(ctx, http.MethodGet, "/"+container+"?format=json&limit=1000&marker="+marker, nil)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, &page); err != nil {
			return nil, fmt.Errorf("listing %s: %w in %q", container, err, b)
		}
		if len(page) == 0 {
			return out, nil
		}
		for _, o := range page {
			out[o.Name] = o.Hash
			marker = o.Name
		}
	}
}

// open makes a container that S3 has open for everybody, too.
func (s *store) open(t *testing.T, name string) {
	t.Helper()
	k := &talk{t: t, s: s, dir: s.dir, env: s.test(), name: "aws", head: []string{"--endpoint-url", s.url}}
	k.ok("", "s3", "mb", "s3://"+name)
	k.ok("", "s3api", "put-bucket-policy", "--bucket", name, "--policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",
		"Action":["s3:GetObject","s3:PutObject","s3:DeleteObject","s3:ListBucket"],"Resource":["arn:aws:s3:::`+name+`","arn:aws:s3:::`+name+`/*"]}]}`)
	s.signIn(t)
}

// TestStoreKilled kills the store under writers of both protocols, twenty times. What
// was acknowledged is there each time, whole, and in the listing.
func TestStoreKilled(t *testing.T) {
	const rounds, limit = 20, 70 * time.Second
	s := serveStore(t, "--disk", t.TempDir(), "--disk", t.TempDir())
	s.open(t, "crash")
	var writers []*writer
	for i := range 6 {
		writers = append(writers, &writer{s: s, id: i, rand: rand.New(rand.NewPCG(uint64(i), 7)), acked: map[string]string{}, pending: map[string]string{}})
	}
	began, done, unsure := time.Now(), 0, 0
	for ; done < rounds && time.Since(began) < limit; done++ {
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		for _, w := range writers {
			g.Go(func() {
				if err := w.run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		// The moment is any; the store is as busy after ten writes as after a thousand.
		time.Sleep(time.Duration(100+rand.IntN(500)) * time.Millisecond)
		s.end(syscall.SIGKILL)
		cancel()
		g.Wait()
		s.client.CloseIdleConnections()
		s.start(t)
		listed, err := s.list(t.Context(), "crash")
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range writers {
			unsure += len(w.pending)
			if err := w.check(t.Context(), listed); err != nil {
				t.Fatalf("after kill %d: %v", done+1, err)
			}
		}
		if t.Failed() {
			return
		}
	}
	writes := 0
	for _, w := range writers {
		writes += w.writes
	}
	t.Logf("%d kills in %.0f s; %d writes were acknowledged, %d were not", done, time.Since(began).Seconds(), writes, unsure)
	if done < rounds/2 || writes < 50*done || unsure == 0 {
		t.Error("that is too little to prove anything")
	}
}
