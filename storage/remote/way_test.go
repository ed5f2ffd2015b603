package remote_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/remote"
)

// TestTLS believes a certificate that the configuration names, and no other.
func TestTLS(t *testing.T) {
	c, _ := s3World(t, time.Now)
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", u.Host }})
	h.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // a refused certificate is meant
	h.StartTLS()
	t.Cleanup(h.Close)
	c.Endpoint = h.URL
	_, err = newS3(t, c).Bucket(t.Context(), "bucket")
	if !errors.Is(err, storage.ErrUnavailable) || !remote.IsPermanent(err) {
		t.Errorf("an unknown certificate gave %v", err)
	}
	c.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	b := makeBucket(t, newS3(t, c), "bucket")
	store(t, b, "k", pattern(1<<20), storage.PutOptions{})
	c.CA = []byte("no certificate")
	if _, err := remote.NewS3(c); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("a file without certificates gave %v", err)
	}
}

// keystone answers as Keystone's API of version 3 does, with tokens of a TempAuth.
func keystone(t *testing.T, c remote.Swift, body *string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v3/auth/tokens" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		*body = string(raw)
		q, err := http.NewRequestWithContext(r.Context(), http.MethodGet, c.AuthURL, nil)
		if err != nil {
			t.Error(err)
			return
		}
		q.Header.Set("X-Auth-User", c.User)
		q.Header.Set("X-Auth-Key", c.Password)
		res, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Error(err)
			return
		}
		_ = res.Body.Close() // it is empty
		type m = map[string]any
		answer := m{"token": m{"expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "catalog": []m{
			{"type": "object-store", "endpoints": []m{
				{"interface": "public", "region": "elsewhere", "region_id": "elsewhere", "url": "http://127.0.0.1:1/"},
				{"interface": "public", "region": "here", "region_id": "here", "url": res.Header.Get("X-Storage-Url")},
			}},
		}}}
		w.Header().Set("X-Subject-Token", res.Header.Get("X-Auth-Token"))
		w.WriteHeader(http.StatusCreated)
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// TestKeystone signs in by version 3, for a project and a region.
func TestKeystone(t *testing.T) {
	c, _ := swiftWorld(t, time.Now)
	var said string
	k := keystone(t, c, &said)
	c.AuthURL, c.AuthVersion, c.Domain, c.Project, c.Region = k.URL+"/v3", 3, "dom", "proj", "here"
	b := makeBucket(t, newSwift(t, c), "bucket")
	store(t, b, "k", []byte("body"), storage.PutOptions{})
	if got, err := load(b, "k"); err != nil || string(got) != "body" {
		t.Errorf("%q, %v", got, err)
	}
	for _, want := range []string{`"dom"`, `"proj"`, `"test:tester"`} {
		if !strings.Contains(said, want) {
			t.Errorf("Keystone was not told %s", want)
		}
	}
}

// TestToken gets a new token when the old one has expired, once.
func TestToken(t *testing.T) {
	c, _ := swiftWorld(t, time.Now)
	w := stand(t, strings.TrimSuffix(c.AuthURL, "/auth/v1.0"))
	c.AuthURL = w.url + "/auth/v1.0"
	b := makeBucket(t, newSwift(t, c), "bucket")
	store(t, b, "k", []byte("body"), storage.PutOptions{})
	refused, logins := 0, 0
	w.say(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/auth/v1.0" {
			logins++
			return false
		}
		if refused++; refused == 1 {
			rw.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	})
	if _, err := b.Stat(t.Context(), "k", storage.ReadOptions{}); err != nil || logins != 1 {
		t.Errorf("%v after %d logins", err, logins)
	}
}

// TestEndless gives up a remote whose listings do not go on.
func TestEndless(t *testing.T) {
	both(t, same, func(t *testing.T, s *remote.Store, b *between, _ storage.Store) {
		bk := makeBucket(t, s, "bucket")
		b.say(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.RawQuery, "limit") && !strings.Contains(r.URL.RawQuery, "list-type") {
				return false
			}
			if strings.HasPrefix(t.Name(), "TestEndless/S3") {
				_, _ = io.WriteString(w, `<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>a</Key></Contents></ListBucketResult>`)
				return true
			}
			_, _ = fmt.Fprintf(w, `[{"name":"a"}%s]`, strings.Repeat(`,{"name":"a"}`, 100))
			return true
		})
		_, err := bk.List(t.Context(), storage.ListOptions{Prefix: "a", Limit: 100})
		l, more := storage.Listing{}, 0
		for err == nil && more < 1000 {
			more++
			l, err = bk.List(t.Context(), storage.ListOptions{Prefix: "a", Limit: 100, After: "a"})
			if !l.More {
				break
			}
		}
		if more == 1000 || err == nil {
			t.Errorf("a listing without an end: %d pages, %v", more, err)
		}
	})
}

// TestResidency refuses buckets that may not lie where the remote does.
func TestResidency(t *testing.T) {
	both(t, func(c *remote.Common) { c.Jurisdiction = "eu/de" }, func(t *testing.T, s *remote.Store, _ *between, _ storage.Store) {
		for home, want := range map[string]error{"eu": nil, "us": storage.ErrForbiddenPlace} {
			_, err := s.CreateBucket(t.Context(), "in-"+home, storage.Settings{Residency: storage.Residency{Home: home}})
			if !errors.Is(err, want) {
				t.Errorf("%s: %v", home, err)
			}
		}
	})
	c, _ := s3World(t, time.Now)
	c.Jurisdiction = "Not a name"
	if _, err := remote.NewS3(c); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("a jurisdiction without form gave %v", err)
	}
}
