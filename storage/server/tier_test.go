package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"polder.dev/polder/storage"
)

func TestParseTiers(t *testing.T) {
	good := "tiers:\n- {name: big, class: capacity, disks: [/mnt/a, /mnt/b], jurisdiction: eu/nl, default: true}\n- {name: far, class: remote, disks: [/net/c]}\n"
	f, err := ParseStores([]byte(good))
	if list := f.Tiers; err != nil || len(list) != 2 || !list[0].Default || list[0].Jurisdiction != "eu/nl" {
		t.Errorf("%+v, %v", list, err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"unknown field":  {"tiers: [{name: a, class: capacity, disks: [/a], size: 1}]", "size"},
		"no name":        {"tiers: [{class: capacity, disks: [/a]}]", "tiers[0].name"},
		"twice":          {"tiers: [{name: a, class: capacity, disks: [/a]}, {name: a, class: capacity, disks: [/b]}]", "tiers[1].name"},
		"class":          {"tiers: [{name: a, class: tape, disks: [/a]}]", "tiers[0].class"},
		"nothing":        {"tiers: [{name: a, class: capacity}]", "tiers[0]: give one"},
		"two at once":    {"tiers: [{name: a, class: remote, disks: [/a], s3: {}}]", "tiers[0]: give one"},
		"a near remote":  {"tiers: [{name: a, class: capacity, s3: {}}]", "tiers[0].class"},
		"relative":       {"tiers: [{name: a, class: capacity, disks: [a]}]", "absolute"},
		"default, twice": {"tiers: [{name: a, class: capacity, disks: [/a], default: true}, {name: b, class: capacity, disks: [/b], default: true}]", "default"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseStores([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestTransition: an object that a rule moves down is read as before, also after a
// restart, and comes back when it is warmed.
func TestTransition(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), HotBytes: 1 << 20, Tiers: []Tier{{Name: "big", Class: "capacity", Disks: []string{t.TempDir()}}}}
	s, url, stop := run(t, cfg)
	c := newClient(t, url)
	body := strings.Repeat("0123456789", 100_000)
	c.s3("PUT", "/data", "", 200)
	before, _ := c.s3("PUT", "/data/in/k", body, 200, "X-Amz-Meta-A", "b")
	b, err := s.Space().Resolve(t.Context(), "a", "data")
	if err != nil {
		t.Fatal(err)
	}
	away := func(s *Server) bool {
		t.Helper()
		b, err := s.disks.Bucket(t.Context(), "data") // below the tiers, which tell nobody
		if err != nil {
			t.Fatal(err)
		}
		i, err := b.Stat(t.Context(), "in/k", storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return i.Whereabouts.Away
	}
	v, err := b.Stat(t.Context(), "in/k", storage.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} { // the second time it is there
		if v, err = b.Stat(t.Context(), "in/k", storage.ReadOptions{}); err != nil {
			t.Fatal(err)
		}
		moved, err := s.transition(t.Context(), b, v, "GLACIER") // as far down as there is a tier
		if err != nil || moved != want {
			t.Errorf("transition %d: %v, %v", i, moved, err)
		}
	}
	if !away(s) {
		t.Error("the data is on the disks still")
	}
	check := func(c *client) {
		t.Helper()
		h, got := c.s3("GET", "/data/in/k", "", 200)
		if got != body || h.Get("ETag") != before.Get("ETag") || h.Get("X-Amz-Meta-A") != "b" || h.Get("X-Amz-Storage-Class") != "GLACIER" {
			t.Errorf("%d bytes, %v", len(got), h)
		}
		if _, got := c.swift("GET", "/data/in/k", "", 206, "Range", "bytes=10-19"); got != "0123456789" {
			t.Errorf("a range through Swift: %q", got)
		}
	}
	check(c)
	c.s3("PUT", "/data?x-polder-tiers", `{"lower":"big","write":"back","demoteAfterSeconds":3600,"pinned":["in/"]}`, 204)
	if _, text := c.s3("GET", "/data?x-polder-tiers", "", 200); text != `{"lower":"big","write":"back","demoteAfterSeconds":3600,"pinned":["in/"]}`+"\n" {
		t.Errorf("the policy is %s", text)
	}
	for _, bad := range []string{"", "{", `{"write":"soon"}`, `{"demoteAfterSeconds":-1}`, `{"speed":1}`, `{"lower":"nowhere"}`} {
		c.s3("PUT", "/data?x-polder-tiers", bad, 400)
	}
	c.s3("DELETE", "/data?x-polder-tiers", "", 204)
	if _, err := s.transition(t.Context(), b, v, "PAPER"); err == nil {
		t.Error("a class that nobody knows")
	}
	stop()
	s, url, _ = run(t, cfg)
	check(newClient(t, url))
	var told int64
	release, err := s.Warm(t.Context(), "data", "in/", func(done int64) { told = done })
	if err != nil || told != int64(len(body)) || away(s) {
		t.Errorf("warmed %d bytes, away is %v, %v", told, away(s), err)
	}
	release()
}

// TestRemoteTiers: data goes to another store and is read from there, by S3 and by Swift.
func TestRemoteTiers(t *testing.T) {
	_, far, _ := run(t, Config{Dir: t.TempDir()})
	newClient(t, far).s3("PUT", "/cold", "", 200)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, l := range []Tier{
		{Name: "far", Class: "remote", S3: &S3{Endpoint: far, Region: "us-east-1", Bucket: "cold", Prefix: "s3/", AccessKey: "a:u", SecretKeyFile: secret}},
		{Name: "far", Class: "remote", Swift: &Swift{AuthURL: far + "/auth/v1.0", AuthVersion: 1, Container: "cold", Prefix: "swift/", User: "a:u", PasswordFile: secret}},
	} {
		cfg := Config{Dir: t.TempDir(), Tiers: []Tier{l}}
		s, url, stop := run(t, cfg)
		c := newClient(t, url)
		body := strings.Repeat("0123456789", 100_000)
		c.s3("PUT", "/data", "", 200)
		c.s3("PUT", "/data/k", body, 200)
		b, err := s.Space().Resolve(t.Context(), "a", "data")
		if err != nil {
			t.Fatal(err)
		}
		v, err := b.Stat(t.Context(), "k", storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if moved, err := s.transition(t.Context(), b, v, "GLACIER"); err != nil || !moved {
			t.Fatalf("moved %v, %v", moved, err)
		}
		stop()
		_, url, stop = run(t, cfg)
		c = newClient(t, url)
		if _, got := c.s3("GET", "/data/k", "", 200); got != body {
			t.Errorf("%d bytes came back", len(got))
		}
		if _, got := c.s3("GET", "/data/k", "", 206, "Range", "bytes=999990-"); got != "0123456789" {
			t.Errorf("the last bytes are %q", got)
		}
		stop()
	}
	if _, list := newClient(t, far).swift("GET", "/cold?delimiter=/", "", 200); list != "s3/\nswift/\n" {
		t.Errorf("in the other store: %q", list)
	}
}

// TestResidency: bytes of a bound bucket go nowhere that it does not allow.
func TestResidency(t *testing.T) {
	s, url, _ := run(t, Config{Dir: t.TempDir(), Jurisdiction: "eu/nl"})
	c := newClient(t, url)
	for name, r := range map[string]storage.Residency{"bound": {Home: "eu/nl"}, "bound-too": {Home: "eu/nl"}, "free": {}} {
		if _, err := s.Space().CreateBucket(t.Context(), "a", name, storage.Settings{Residency: r}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Space().CreateBucket(t.Context(), "a", "elsewhere", storage.Settings{Residency: storage.Residency{Home: "us"}}); err == nil || !strings.Contains(err.Error(), "eu/nl") {
		t.Errorf("a bucket that may not lie here: %v", err)
	}
	c.s3("PUT", "/bound/k", "secret", 200)
	c.s3("PUT", "/bound-too/k", "", 200, "X-Amz-Copy-Source", "/bound/k")
	if _, text := c.s3("PUT", "/free/k", "", 403, "X-Amz-Copy-Source", "/bound/k"); !strings.Contains(text, "bound") || !strings.Contains(text, "eu/nl") {
		t.Errorf("S3 says %s", text)
	}
	c.swift("PUT", "/free/k", "", 403, "X-Copy-From", "bound/k")
	c.s3("GET", "/free/k", "", 404)
	c.s3("PUT", "/free/x", "public", 200)
	c.s3("PUT", "/bound/x", "", 200, "X-Amz-Copy-Source", "/free/x")
}
