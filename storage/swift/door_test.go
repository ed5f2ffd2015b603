package swift_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/mem"
	"polder.dev/polder/storage/naming"
	"polder.dev/polder/storage/swift"
)

// people are those of the conversations, by a letter.
var people = map[string][2]string{
	"t": {"test:tester", "testing"}, "2": {"test2:tester2", "testing2"}, "3": {"test:tester3", "testing3"},
	"6": {"test6:tester6", "testing6"}, "5": {"test5:tester5", "testing5"},
}

func directory(t testing.TB) iam.Directory {
	t.Helper()
	u, err := iam.NewUsers([]iam.User{
		{Account: "test", Name: "tester", Password: "testing", Roles: []string{"admin"}},
		{Account: "test2", Name: "tester2", Password: "testing2", Roles: []string{"admin"}},
		{Account: "test", Name: "tester3", Password: "testing3"},
		{Account: "test6", Name: "tester6", Password: "testing6", Roles: []string{"operator"}},
		{Account: "test5", Name: "tester5", Password: "testing5", Roles: []string{"service"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// door is a server with its store.
type door struct {
	t     testing.TB
	store storage.Store
	space *naming.Space
	cfg   swift.Config
	h     *swift.Handler
	url   string
	token map[string]string
	ticks atomic.Int64
}

// begin is when the clock of a door starts; it goes on by a millisecond with each request.
var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (d *door) now() time.Time { return begin.Add(time.Duration(d.ticks.Load()) * time.Millisecond) }

func open(t testing.TB, change func(*swift.Config)) *door {
	t.Helper()
	d := &door{t: t, token: map[string]string{}}
	m := mem.New(0, d.now)
	t.Cleanup(func() { _ = m.Close() })
	sp, err := naming.Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	d.store, d.space = m, sp
	d.cfg = swift.Config{
		Space: sp, Directory: directory(t), Log: slog.New(slog.DiscardHandler), Now: d.now,
		Policies: []swift.Policy{{Name: "gold"}, {Name: "silver", Aliases: []string{"argent"}}}, Domains: []string{"example.com"},
	}
	if change != nil {
		change(&d.cfg)
	}
	d.restart()
	for who := range people {
		d.token[who] = d.login(who)
	}
	return d
}

// restart makes the handler anew over the same store.
func (d *door) restart() {
	h, err := swift.New(d.t.Context(), d.cfg)
	if err != nil {
		d.t.Fatal(err)
	}
	s := httptest.NewServer(h)
	d.t.Cleanup(s.Close)
	d.h, d.url = h, s.URL
}

func (d *door) login(who string) string {
	a := d.do("-", "GET", "/auth/v1.0", "", "X-Auth-User", people[who][0], "X-Auth-Key", people[who][1])
	if a.status != 200 {
		d.t.Fatalf("%s gets no token: %d", who, a.status)
	}
	return a.head.Get("X-Auth-Token")
}

// answer is what came back.
type answer struct {
	status int
	head   http.Header
	body   string
}

// do sends a request with headers in pairs.
func (d *door) do(who, method, path, body string, headers ...string) answer {
	d.t.Helper()
	return d.send(who, method, path, strings.NewReader(body), headers...)
}

func (d *door) send(who, method, path string, body io.Reader, headers ...string) answer {
	d.t.Helper()
	d.ticks.Add(1)
	r, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, body)
	if err != nil {
		d.t.Fatal(err)
	}
	if who != "-" {
		r.Header.Set("X-Auth-Token", d.token[who])
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	c := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
	}
	res, err := c.Do(r)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	b, err := io.ReadAll(res.Body)
	if err != nil {
		b = append(b, "<cut>"...)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// want sends a request and compares the status.
func (d *door) want(status int, who, method, path, body string, headers ...string) answer {
	d.t.Helper()
	a := d.do(who, method, path, body, headers...)
	if a.status != status {
		d.t.Errorf("%s %s by %s: status %d, want %d: %s", method, path, who, a.status, status, a.body)
	}
	return a
}
