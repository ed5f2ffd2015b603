//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Users of the stores under test: one of them has S3's keys, the other a password.
const (
	storeUsers = `users:
- {account: main, name: root, accessKey: AKMAIN, secretKey: SECRETMAIN, roles: [admin]}
- {account: test, name: tester, password: testing, roles: [admin]}
`
	storeLimit = 3 * time.Minute // of one command of a client
	debianPath = "/usr/sbin:/usr/bin:/sbin:/bin"
)

// store is an object store alone, `polder store serve`.
type store struct {
	dir, url string
	data     string   // the data directory, in dir
	args     []string // of serve, beside the usual
	cmd      *exec.Cmd
	log      record
	ended    chan struct{}
	client   http.Client
	token    string // of Swift, of test:tester
}

// serveStore starts a store in a directory of its own. It ends with t.
func serveStore(t *testing.T, args ...string) *store {
	t.Helper()
	s := &store{dir: t.TempDir(), data: "data", args: args}
	if err := os.WriteFile(s.path("users.yaml"), []byte(storeUsers), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + l.Addr().String() // nobody is given it again at once
	if slices.Contains(args, "--tls-cert-file") {
		s.url = "https://" + l.Addr().String()
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.client.Transport = &http.Transport{MaxIdleConnsPerHost: 32}
	s.client.Timeout = storeLimit
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		if s.cmd != nil {
			s.end(syscall.SIGTERM)
		}
		if t.Failed() {
			t.Logf("--- the store's log\n%s", s.said())
		}
	})
	s.start(t)
	return s
}

// record is what a program said.
type record struct {
	mu   sync.Mutex
	text []string
}

func (r *record) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = append(r.text, line)
}

func (s *store) said() string {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return strings.Join(s.log.text, "\n")
}

func (s *store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func (s *store) host() string { _, host, _ := strings.Cut(s.url, "://"); return host }

// start starts the program and returns when it listens.
func (s *store) start(t *testing.T) {
	t.Helper()
	args := []string{"store", "serve", "--data-dir", s.path(s.data), "--users", s.path("users.yaml"), "--listen", s.host()}
	s.ended = make(chan struct{})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(program, append(args, s.args...)...)
	s.cmd.Env, s.cmd.Stderr = environment(), w
	err = s.cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	go func() { // ends with the program, which end waits for
		defer close(s.ended)
		defer r.Close()
		for lines := bufio.NewScanner(r); lines.Scan(); {
			s.log.add(lines.Text())
			if strings.Contains(lines.Text(), "the store serves S3 and Swift") {
				close(up)
			}
		}
	}()
	select {
	case <-up:
	case <-s.ended:
		t.Fatalf("the store did not start: %v\n%s", s.cmd.Wait(), s.said())
	case <-time.After(storeLimit):
		t.Fatalf("the store did not listen after %v", storeLimit)
	}
}

// end ends the program by a signal.
func (s *store) end(how os.Signal) {
	_ = s.cmd.Process.Signal(how) // it may have ended
	<-s.ended
	_ = s.cmd.Wait() // it says the signal
	s.cmd = nil
}

// tool makes a command of a client, which comes from Debian's package of that name. It
// has no keys and no proxies but those of env, and /usr/bin/python3 for a Python.
func (s *store) tool(t *testing.T, dir string, env []string, name string, args ...string) *exec.Cmd {
	t.Helper()
	path := program
	if name != "polder" {
		path = "/usr/bin/" + name
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%v; `make e2e` installs the packages that the tests need", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), storeLimit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	cmd.Env = append([]string{"PATH=" + debianPath, "HOME=" + s.dir, "LC_ALL=C.UTF-8", "AWS_DEFAULT_REGION=us-east-1"}, env...)
	return cmd
}

// keys of an account, as AWS's tools and polder take them.
func (s *store) keys(key, secret string) []string {
	return []string{"AWS_ENDPOINT_URL_S3=" + s.url, "AWS_ACCESS_KEY_ID=" + key, "AWS_SECRET_ACCESS_KEY=" + secret}
}

func (s *store) main() []string { return s.keys("AKMAIN", "SECRETMAIN") }
func (s *store) test() []string { return s.keys("test:tester", "testing") }

// output runs cmd and returns what it printed to both, and its exit code.
func output(t *testing.T, cmd *exec.Cmd) (string, int) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// talk runs commands of one client, in one directory.
type talk struct {
	t    *testing.T
	s    *store
	dir  string
	env  []string
	name string
	head []string // first arguments of each command
}

// ok runs the client, which must end well and print want, if it is not "".
func (k *talk) ok(want string, args ...string) string {
	k.t.Helper()
	out, code := output(k.t, k.s.tool(k.t, k.dir, k.env, k.name, append(slices.Clone(k.head), args...)...))
	if code != 0 || !strings.Contains(out, want) {
		k.t.Fatalf("%s %s: exit code %d, %q wanted in\n%s", k.name, strings.Join(args, " "), code, want, out)
	}
	return out
}

// no runs the client, which must fail and print each of want.
func (k *talk) no(want []string, args ...string) {
	k.t.Helper()
	out, code := output(k.t, k.s.tool(k.t, k.dir, k.env, k.name, append(slices.Clone(k.head), args...)...))
	if code == 0 {
		k.t.Errorf("%s %s did not fail:\n%s", k.name, strings.Join(args, " "), out)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			k.t.Errorf("%s %s: %q wanted in\n%s", k.name, strings.Join(args, " "), w, out)
		}
	}
}

// same compares files and directories of the conversation.
func (k *talk) same(a, b string) {
	k.t.Helper()
	if out, err := exec.Command("diff", "-r", filepath.Join(k.dir, a), filepath.Join(k.dir, b)).CombinedOutput(); err != nil {
		k.t.Fatalf("%s is not %s: %s", b, a, out)
	}
}

// swift sends a request to Swift as test:tester; the answer's body was read.
func (s *store) swift(ctx context.Context, method, path string, body []byte, head ...string) (*http.Response, []byte, error) {
	return s.send(ctx, method, "/v1/AUTH_test"+path, body, append(head, "X-Auth-Token", s.token)...)
}

// send sends a request to either door.
func (s *store) send(ctx context.Context, method, path string, body []byte, head ...string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	for i := 0; i < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, b, err
}

// signIn gets a token of Swift's.
func (s *store) signIn(t *testing.T) {
	t.Helper()
	resp, _, err := s.send(t.Context(), http.MethodGet, "/auth/v1.0", nil, "X-Auth-User", "test:tester", "X-Auth-Key", "testing")
	if err != nil {
		t.Fatal(err)
	}
	if s.token = resp.Header.Get("X-Auth-Token"); s.token == "" {
		t.Fatalf("signing in: %s", resp.Status)
	}
}
