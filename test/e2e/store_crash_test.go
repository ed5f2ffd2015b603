//go:build e2e

package e2e

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	acked   map[string]held // by key
	pending map[string]held
	writes  atomic.Int64
}

// crew is writers that work at once.
type crew []*writer

func newCrew(s *store, n int, seed uint64) (all crew) {
	for i := range n {
		all = append(all, newWriter(s, i, seed))
	}
	return all
}

func (all crew) count() (n int64) {
	for _, w := range all {
		n += w.writes.Load()
	}
	return n
}

// await returns when n more writes were acknowledged.
func (all crew) await(t *testing.T, n int) {
	t.Helper()
	end := all.count() + int64(n)
	waitFor(t, storeLimit, "so many writes", func(context.Context) error {
		if now := all.count(); now < end {
			return fmt.Errorf("%d are missing", end-now)
		}
		return nil
	})
}

// held is an object's MD5 and ETag; empty for none.
type held struct{ sum, tag string }

func newWriter(s *store, id int, seed uint64) *writer {
	return &writer{s: s, id: id, rand: rand.New(rand.NewPCG(uint64(id), seed)), acked: map[string]held{}, pending: map[string]held{}}
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
		sum := md5.Sum(body)
		want := held{hex.EncodeToString(sum[:]), hex.EncodeToString(sum[:])}
		write := w.put
		switch kind := w.rand.IntN(40); {
		case kind < 5:
			want, write = held{}, w.remove
		case kind < 10 && w.id%2 == 0:
			part := md5.Sum(sum[:])
			want.tag, write = hex.EncodeToString(part[:])+"-1", w.join
		}
		w.pending[key] = want
		tag, err := write(ctx, key, body)
		var lost *url.Error
		var cut *net.OpError // within the body of the answer
		switch {
		case errors.As(err, &lost) || errors.As(err, &cut) || errors.Is(err, io.ErrUnexpectedEOF):
			return nil // the store was killed; whether it came is seen later
		case err != nil:
			return err
		case tag != want.tag:
			return fmt.Errorf("writing %s: ETag %q, want %q", key, tag, want.tag)
		}
		w.acked[key] = want
		delete(w.pending, key)
		w.writes.Add(1)
	}
	return nil
}

// ask sends a request that must be answered with one of codes.
func (w *writer) ask(ctx context.Context, method, path string, body []byte, codes ...int) (tag string, text []byte, err error) {
	resp, text, err := w.s.send(ctx, method, path, body, "X-Auth-Token", w.s.token)
	if err != nil {
		return "", nil, err
	}
	if !slices.Contains(codes, resp.StatusCode) {
		return "", nil, fmt.Errorf("%s %s: %s %s", method, path, resp.Status, text)
	}
	return strings.Trim(resp.Header.Get("ETag"), `"`), text, nil
}

func (w *writer) put(ctx context.Context, key string, body []byte) (string, error) {
	tag, _, err := w.ask(ctx, http.MethodPut, w.at(key), body, 200, 201)
	return tag, err
}

func (w *writer) remove(ctx context.Context, key string, _ []byte) (string, error) {
	_, _, err := w.ask(ctx, http.MethodDelete, w.at(key), nil, 204, 404)
	return "", err
}

// join puts an object as one part of a multipart upload.
func (w *writer) join(ctx context.Context, key string, body []byte) (string, error) {
	_, text, err := w.ask(ctx, http.MethodPost, w.at(key)+"?uploads", nil, 200)
	if err != nil {
		return "", err
	}
	var begun struct{ UploadId string }
	if err := xml.Unmarshal(text, &begun); err != nil {
		return "", fmt.Errorf("beginning an upload: %w in %q", err, text)
	}
	at := w.at(key) + "?uploadId=" + url.QueryEscape(begun.UploadId)
	part, _, err := w.ask(ctx, http.MethodPut, at+"&partNumber=1", body, 200)
	if err != nil {
		return "", err
	}
	list := "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + part + "</ETag></Part></CompleteMultipartUpload>"
	if _, text, err = w.ask(ctx, http.MethodPost, at, []byte(list), 200); err != nil {
		return "", err
	}
	var whole struct{ ETag string }
	err = xml.Unmarshal(text, &whole)
	return strings.Trim(whole.ETag, `"`), err
}

// check compares the store with what w knows, through the other door than w's.
func (w *writer) check(ctx context.Context, listed map[string]string) error {
	other := writer{id: w.id + 1}
	for key := range merged(w.acked, w.pending) {
		resp, body, err := w.s.send(ctx, http.MethodGet, other.at(key), nil, "X-Auth-Token", w.s.token)
		if err != nil {
			return err
		}
		var got held
		switch resp.StatusCode {
		case http.StatusOK:
			got = held{fmt.Sprintf("%x", md5.Sum(body)), strings.Trim(resp.Header.Get("ETag"), `"`)}
		case http.StatusNotFound:
		default:
			return fmt.Errorf("GET %s: %s %s", key, resp.Status, body)
		}
		if listed[key] != got.tag {
			return fmt.Errorf("%s: listed with ETag %q, and read as %+v", key, listed[key], got)
		}
		maybe, unknown := w.pending[key]
		if got != w.acked[key] && !(unknown && got == maybe) {
			return fmt.Errorf("%s: %+v; %+v was acknowledged, and %+v was sent (%v)", key, got, w.acked[key], maybe, unknown)
		}
		w.acked[key] = got
		delete(w.pending, key)
	}
	return nil
}

func merged(a, b map[string]held) map[string]bool {
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

// TestStoreKilled kills the store under writers of both protocols, twenty times, or ten
// where that takes long. What
// was acknowledged is there each time, whole, and in the listing.
func TestStoreKilled(t *testing.T) {
	const rounds, limit = 20, 70 * time.Second
	s := serveStore(t, "--disk", t.TempDir(), "--disk", t.TempDir())
	s.open(t, "crash")
	writers := newCrew(s, 6, 7)
	began, done, unsure := time.Now(), 0, 0
	for ; done < rounds && (done < rounds/2 || time.Since(began) < limit); done++ {
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		for _, w := range writers {
			g.Go(func() {
				if err := w.run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		// The moment is any: it comes while the others write.
		writers.await(t, 50+rand.IntN(500))
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
	writes := writers.count()
	t.Logf("%d kills in %.0f s; %d writes were acknowledged, %d were not", done, time.Since(began).Seconds(), writes, unsure)
	if writes < 50*int64(done) || unsure == 0 {
		t.Error("that is too little to prove anything")
	}
}
