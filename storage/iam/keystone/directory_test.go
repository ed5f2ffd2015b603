package keystone

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"polder.dev/polder/storage/iam"
)

// server answers as Keystone's documents say.
type server struct {
	*httptest.Server
	t      *testing.T
	signed int // sign-ins
	asked  int // validations
	own    string
	broken bool
	tokens map[string]string // to the JSON of their answer
}

func newServer(t *testing.T) *server {
	s := &server{t: t, tokens: map[string]string{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v3/auth/tokens" || s.broken {
		http.Error(w, "broken", http.StatusInternalServerError)
		return
	}
	if r.Method == http.MethodPost {
		s.signed++
		b, _ := io.ReadAll(r.Body)
		var in any
		if err := json.Unmarshal(b, &in); err != nil || !strings.Contains(string(b), `"password":"secret"`) {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		s.own = fmt.Sprintf("own-%d", s.signed)
		w.Header().Set("X-Subject-Token", s.own)
		w.WriteHeader(http.StatusCreated)
		return
	}
	s.asked++
	if r.Header.Get("X-Auth-Token") != s.own {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	text, ok := s.tokens[r.Header.Get("X-Subject-Token")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = io.WriteString(w, text)
}

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func (s *server) directory(now *time.Time) *Directory {
	s.t.Helper()
	d, err := New(Config{URL: s.URL + "/v3", User: "polder", Password: "secret", Now: func() time.Time { return *now }})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func token(project, expires string, roles ...string) string {
	list := ""
	for i, r := range roles {
		if i > 0 {
			list += ","
		}
		list += fmt.Sprintf(`{"id":"r%d","name":%q}`, i, r)
	}
	return fmt.Sprintf(`{"token":{"expires_at":%q,"user":{"id":"u1","name":"ann"},"project":{"id":%q,"name":"lab"},"roles":[%s]}}`, expires, project, list)
}

func TestToken(t *testing.T) {
	s := newServer(t)
	now := noon
	d := s.directory(&now)
	s.tokens["boss"] = token("p1", "2030-01-01T13:00:00.000000Z", "Admin", "member")
	s.tokens["member"] = token("p1", "2030-01-01T13:00:00Z", "member")
	s.tokens["all"] = token("p2", "2030-01-01T13:00:00Z", "ResellerAdmin", "service")
	s.tokens["late"] = token("p1", "2030-01-01T11:59:00Z", "admin")
	s.tokens["nowhere"] = token("", "2030-01-01T13:00:00Z", "admin")
	for name, want := range map[string]*iam.Identity{
		"boss":    {Account: "p1", User: "u1", DisplayName: "lab", Admin: true, Groups: []string{"ann", "Admin", "member"}},
		"member":  {Account: "p1", User: "u1", DisplayName: "lab", Groups: []string{"ann", "member"}},
		"all":     {Account: "p2", User: "u1", DisplayName: "lab", Operator: true, Service: true, Groups: []string{"ann", "ResellerAdmin", "service"}},
		"late":    nil,
		"nowhere": nil,
		"unknown": nil,
		"a\r\nb":  nil,
	} {
		who, err := d.Token(t.Context(), name)
		if want == nil {
			if !errors.Is(err, iam.ErrNoIdentity) {
				t.Errorf("%q: %+v, %v", name, who, err)
			}
			continue
		}
		if diff := cmp.Diff(*want, who); err != nil || diff != "" {
			t.Errorf("%q: %v %s", name, err, diff)
		}
	}
	if s.signed != 1 {
		t.Errorf("signed in %d times", s.signed)
	}
}

func TestTokenIsRemembered(t *testing.T) {
	s := newServer(t)
	now := noon
	d := s.directory(&now)
	s.tokens["a"] = token("p1", "2030-01-01T12:00:30Z", "member")
	ask := func() error {
		_, err := d.Token(t.Context(), "a")
		return err
	}
	for range 3 {
		if err := ask(); err != nil || s.asked != 1 {
			t.Errorf("asked %d times, %v", s.asked, err)
		}
	}
	now = now.Add(31 * time.Second) // it has expired, before what is remembered would
	if err := ask(); !errors.Is(err, iam.ErrNoIdentity) || s.asked != 2 {
		t.Errorf("an expired one: asked %d times, %v", s.asked, err)
	}
	s.own = "another" // Keystone was restarted
	s.tokens["b"] = token("p1", "2030-01-01T13:00:00Z", "member")
	if _, err := d.Token(t.Context(), "b"); err != nil || s.signed != 2 {
		t.Errorf("signed in %d times, %v", s.signed, err)
	}
	s.broken = true
	if _, err := d.Token(t.Context(), "c"); err == nil || errors.Is(err, iam.ErrNoIdentity) {
		t.Errorf("Keystone is broken, and the token is %v", err)
	}
	if _, err := d.Token(t.Context(), "b"); err != nil {
		t.Errorf("what is remembered, while it is broken: %v", err)
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]Config{
		"no version": {URL: "https://k:5000", User: "u", Password: "p"},
		"no host":    {URL: "/v3", User: "u", Password: "p"},
		"user in it": {URL: "https://u:p@k/v3", User: "u", Password: "p"},
		"nobody":     {URL: "https://k/v3"},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	s := newServer(t)
	d, err := New(Config{URL: s.URL + "/v3/", User: "polder", Password: "wrong-one"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Token(t.Context(), "x")
	if err == nil || errors.Is(err, iam.ErrNoIdentity) || strings.Contains(err.Error(), "wrong-one") {
		t.Errorf("a wrong password: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(token("p1", "2030-01-01T13:00:00Z", "admin")))
	f.Add([]byte(`{}`))
	d, err := New(Config{URL: "https://k/v3", User: "u", Password: "p", Now: func() time.Time { return noon }})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := d.read(b)
		if err == nil && a.err == nil && (a.who.Account == "" || !a.until.After(noon)) {
			t.Errorf("%+v until %s", a.who, a.until)
		}
	})
}
