package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
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
	"polder.dev/polder/storage/iam"
)

func people(t *testing.T) iam.Directory {
	t.Helper()
	u, err := iam.NewUsers([]iam.User{
		{Account: "a", Name: "u", Password: "secret", Roles: []string{"admin"}}, {Account: "b", Name: "u", Password: "secret", Roles: []string{"admin"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// run serves a data directory until the test ends, or stop is called.
func run(t *testing.T, cfg Config) (s *Server, url string, stop func()) {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.Doors(t.Context(), people(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l, h, nil) }()
	over := false
	stop = func() {
		if over {
			return
		}
		over = true
		cancel()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return s, "http://" + l.Addr().String(), stop
}

// ask sends a request to the socket, once it is there.
func ask(t *testing.T, dir, method, path, in string) (int, string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", Socket(dir))
	}}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://store"+path, strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestStoreIsOneProcess(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	run(t, cfg)
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second one: %v", err)
	}
}

func TestDisksComeAndGo(t *testing.T) {
	dir, extra := t.TempDir(), t.TempDir()
	cfg := Config{Dir: dir}
	s, _, stop := run(t, cfg)
	b, err := s.Space().CreateBucket(t.Context(), "a", "data", storage.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
		if _, err := b.Put(t.Context(), k, bytes.NewReader(bytes.Repeat([]byte(k), 200_000)), storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	first := s.disks.Disks()[0].ID
	if code, text := ask(t, dir, "POST", "/disks", `{"dir":"relative"}`); code != 400 || !strings.Contains(text, "absolute") {
		t.Errorf("a relative path: %d %s", code, text)
	}
	if code, text := ask(t, dir, "POST", "/disks", `{"dir":"`+extra+`"}`); code != 200 {
		t.Fatalf("adding a disk: %d %s", code, text)
	}
	if code, text := ask(t, dir, "POST", "/disks/"+first+"/drain", ""); code != 200 {
		t.Fatalf("draining a disk: %d %s", code, text)
	}
	settle(t, dir)
	if code, text := ask(t, dir, "DELETE", "/disks/"+first, ""); code != 400 || !strings.Contains(text, "no disk") {
		t.Errorf("taking a disk out that has left: %d %s", code, text)
	}
	stop()
	if err := os.RemoveAll(filepath.Join(dir, "disk")); err != nil {
		t.Fatal(err)
	}
	again, _, _ := run(t, cfg)
	b, err = again.Space().Resolve(t.Context(), "a", "data")
	if err != nil {
		t.Fatal(err)
	}
	l, err := b.List(t.Context(), storage.ListOptions{})
	if err != nil || len(l.Objects) != 26 {
		t.Fatalf("%d objects, %v", len(l.Objects), err)
	}
	for i := range l.Objects {
		o, err := b.Open(t.Context(), l.Objects[i].Key, storage.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(storage.Reader(o, 0, 200_000))
		if err != nil || string(data) != strings.Repeat(l.Objects[i].Key, 200_000) {
			t.Errorf("%s: %v", l.Objects[i].Key, err)
		}
		_ = o.Close()
	}
}

// settle waits until everything is where it belongs.
func settle(t *testing.T, dir string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		_, text := ask(t, dir, "GET", "/disks", "")
		var d Disks
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			t.Fatal(err)
		}
		if d.Error != "" {
			t.Fatal(d.Error)
		}
		if d.Settled {
			return
		}
	}
	t.Fatal("the disks do not settle")
}

func TestTooManyRequests(t *testing.T) {
	s, url, _ := run(t, Config{Dir: t.TempDir(), RequestsMax: 1})
	s.slots <- struct{}{} // one is served
	resp, err := http.Get(url + "/data/key")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the one too many: %s", resp.Status)
	}
	<-s.slots
	resp, err = http.Get(url + "/data/key")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusServiceUnavailable {
		t.Errorf("with room again: %s", resp.Status)
	}
	_, text := ask(t, s.cfg.Dir, "GET", "/metrics", "")
	for _, want := range []string{"polder_storage_refused_total 1", `polder_storage_requests_total{class="4xx",method="GET",protocol="s3"} 1`, "polder_storage_disk_up{", "polder_storage_settled 1", `polder_storage_lifecycle_total{what="failed"} 0`} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %q", want)
		}
	}
}

func TestDue(t *testing.T) {
	now := time.Now()
	if got := due(now, 1<<30, patience).Sub(now); got < patience-time.Second || got > patience+time.Second {
		t.Errorf("one that came far may pause for %s", got)
	}
	if got := due(now.Add(-10*time.Minute), 0, patience); !got.Before(now) {
		t.Errorf("one that sent nothing in ten minutes has until %s", got)
	}
}

func TestSocketIsOwners(t *testing.T) {
	dir := t.TempDir()
	run(t, Config{Dir: dir})
	ask(t, dir, "GET", "/disks", "")
	i, err := os.Stat(Socket(dir))
	if err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", i.Mode(), err)
	}
	for _, f := range []string{"token.key", "disks.json"} {
		if i, err := os.Stat(filepath.Join(dir, f)); err != nil || i.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// TestExpectNothing: who asks whether to send an empty body is told to, and the
// connection goes on.
func TestExpectNothing(t *testing.T) {
	_, url, _ := run(t, Config{Dir: t.TempDir()})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 2 {
		if _, err := io.WriteString(conn, "PUT /none/k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
			t.Fatalf("first came %q, %v", line, err)
		}
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusNotFound { // there is no bucket
			t.Fatal(resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body) // the rest of the answer
		_ = resp.Body.Close()
	}
}
