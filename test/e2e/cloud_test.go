//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"polder.dev/polder/internal/kube"
	"polder.dev/polder/system/layout"
)

// Limits of what the tests wait for, on a machine with two slow cores.
const (
	runLimit   = 20 * time.Minute // of one command: a runtime is built by one
	upLimit    = 3 * time.Minute
	podLimit   = 3 * time.Minute
	callLimit  = 20 * time.Second // of one question to the API
	lookEvery  = 200 * time.Millisecond
	systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// cloud is one cloud under test.
type cloud struct {
	layout.Cloud
	bin string
	env []string // of every command

	mu     sync.Mutex
	client *kube.Client
	before *machine // what the machine held before the cloud was there
}

// at is the cloud in dir, which need not be there.
func at(dir string) (*cloud, error) {
	l, err := layout.New(dir, layout.Config{})
	if err != nil {
		return nil, err
	}
	return &cloud{Cloud: l, bin: program, env: environment()}, nil
}

// environment is ours without what would lead a command to another cloud.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "KUBECONFIG=") || strings.HasPrefix(v, "POLDER_") || strings.HasPrefix(v, "PATH=")
	})
	return append(env, "PATH="+systemPath)
}

// newCloud is a cloud that is not up yet, in a directory that is not there yet,
// with addresses that nobody on the machine has. It is removed at the end of t,
// or of the run where t is nil.
func newCloud(t testing.TB, name string) (*cloud, error) {
	for i := range 100 {
		c, err := at(filepath.Join(dataRoot, fmt.Sprintf("%s%d-%s%d", dirPrefix, os.Getpid(), name, i)))
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(c.Dir); err == nil || !addressesFree(c.CIDR) {
			continue
		}
		if c.before, err = snapshot(c); err != nil {
			return nil, err
		}
		made.Lock()
		made.clouds = append(made.clouds, c)
		made.Unlock()
		if t != nil {
			t.Cleanup(func() {
				c.autopsy(t)
				if err := c.remove(); err != nil {
					t.Error(err)
				}
			})
		}
		return c, nil
	}
	return nil, errors.New("no range of addresses 10.64.0.0/16 to 10.191.0.0/16 is free on this machine")
}

// own is a cloud for t alone.
func own(t testing.TB, name string) *cloud {
	t.Helper()
	c, err := newCloud(t, name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var sharedCloud = sync.OnceValues(func() (*cloud, error) { return newCloud(nil, "shared") })

// shared is the cloud of most tests. It is up.
func shared(t testing.TB) *cloud {
	t.Helper()
	c, err := sharedCloud()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.autopsy(t) })
	c.up(t)
	return c
}

// run runs the program with args on this cloud.
func (c *cloud) run(args ...string) (stdout, stderr string, code int) {
	return c.runUnder(running, args...)
}

func (c *cloud) runUnder(ctx context.Context, args ...string) (stdout, stderr string, code int) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	end := slices.Index(args, "--") // what follows is a command of a container's
	if end < 0 {
		end = len(args)
	}
	return c.runCmd(exec.CommandContext(ctx, c.bin, slices.Insert(slices.Clone(args), end, "--data-dir="+c.Dir)...))
}

// runCmd runs cmd in the cloud's environment. The exit code is -1 when it did not
// exit by itself, and the reason is at the end of stderr.
func (c *cloud) runCmd(cmd *exec.Cmd) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, &out, &errs
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.Exited():
		code = exit.ExitCode()
	default:
		code = -1
		fmt.Fprintf(&errs, "\n%s: %v", strings.Join(cmd.Args, " "), err)
	}
	return out.String(), errs.String(), code
}

// must runs the program and returns what it printed; t ends if it fails.
func (c *cloud) must(t testing.TB, args ...string) string {
	t.Helper()
	out, errs, code := c.run(args...)
	if code != 0 {
		t.Fatalf("polder %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// up starts the cloud if it is not up.
func (c *cloud) up(t testing.TB) {
	t.Helper()
	if s, err := c.status(); err == nil && s.State == "Up" {
		return
	}
	began := time.Now()
	c.must(t, "up")
	t.Logf("the cloud %s is up after %.1f s", filepath.Base(c.Dir), time.Since(began).Seconds())
}

// remove stops the cloud and removes it; it is safe on one that never was.
func (c *cloud) remove() error {
	_, err := os.Stat(c.Dir)
	_, ran := os.Stat(c.Run())
	if err != nil && ran != nil {
		return nil
	}
	if out, errs, code := c.runUnder(context.Background(), "reset", "--yes"); code != 0 {
		return fmt.Errorf("polder reset of %s: exit code %d\n%s%s", c.Dir, code, out, errs)
	}
	return nil
}

// status is what `polder status -o json` prints.
type status struct {
	State      string
	Message    string
	Node       string
	PID        int
	Components []componentStatus
}

type componentStatus struct {
	Name     string
	State    string
	PID      int
	Restarts int
	Message  string
}

func (c *cloud) status() (status, error) {
	var s status
	out, errs, code := c.run("status", "-o", "json")
	if code != 0 {
		return s, fmt.Errorf("polder status: exit code %d: %s", code, errs)
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return s, fmt.Errorf("polder status -o json: %w in %q", err, out)
	}
	return s, nil
}

func (s status) component(name string) (componentStatus, error) {
	i := slices.IndexFunc(s.Components, func(c componentStatus) bool { return c.Name == name })
	if i < 0 {
		return componentStatus{}, fmt.Errorf("no component %s in the status of the cloud, which is %s", name, s.State)
	}
	return s.Components[i], nil
}

// api is the administrator's client.
func (c *cloud) api(t testing.TB) *kube.Client {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		k, err := kube.Open(c.AdminKubeconfig())
		if err != nil {
			t.Fatal(err)
		}
		c.client = k
	}
	return c.client
}

// autopsies are what failed tests left of their clouds. They are shown after the last
// test, so that what a test said stands beside its verdict.
var autopsies struct {
	sync.Mutex
	texts []string
}

// autopsy keeps what there is to see of the cloud if t has failed.
func (c *cloud) autopsy(t testing.TB) {
	if !t.Failed() {
		return
	}
	text := fmt.Sprintf("=== the cloud after %s\n%s", t.Name(), c.post())
	autopsies.Lock()
	defer autopsies.Unlock()
	autopsies.texts = append(autopsies.texts, text)
}

// post is what an autopsy needs: the status, and the last lines of every
// component that is not well or has ended by itself.
func (c *cloud) post() string {
	var b strings.Builder
	out, errs, _ := c.run("status")
	fmt.Fprintf(&b, "--- polder status\n%s%s", out, errs)
	names := []string{"supervisor"}
	s, err := c.status()
	if err != nil {
		fmt.Fprintln(&b, err)
	}
	for _, p := range s.Components {
		if well := p.State == "Ready" || p.State == "Done"; (!well || p.Restarts > 0) && p.Name != "pods" {
			names = append(names, p.Name)
		}
	}
	for _, n := range names {
		const lines = 15
		out, errs, _ := c.run("logs", "--component", n, "--tail", strconv.Itoa(lines))
		fmt.Fprintf(&b, "--- polder logs --component %s\n%s%s", n, out, errs)
	}
	return b.String()
}

// hopeless is an error that no waiting will mend.
type hopeless struct{ error }

// waitFor returns when look returns nil. When the limit is over, or look says
// that waiting is in vain, t ends with what was seen last.
func waitFor(t testing.TB, limit time.Duration, what string, look func(ctx context.Context) error) {
	t.Helper()
	if err := awaited(t.Context(), limit, what, look); err != nil {
		t.Fatal(err)
	}
}

// awaited is waitFor where t cannot be ended: in other goroutines, and when t is over.
func awaited(ctx context.Context, limit time.Duration, what string, look func(ctx context.Context) error) error {
	end := time.Now().Add(limit)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		brief, cancel := context.WithTimeout(ctx, callLimit)
		err := look(brief)
		cancel()
		var vain hopeless
		switch {
		case err == nil:
			return nil
		case errors.As(err, &vain):
			return fmt.Errorf("%s will not be: %w", what, err)
		case time.Now().After(end):
			return fmt.Errorf("%s was not after %v; seen last: %w", what, limit, err)
		}
		<-tick.C
	}
}

// brief is a context for one question to the API.
func brief(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), callLimit)
	t.Cleanup(cancel)
	return ctx
}
