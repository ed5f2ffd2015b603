package component

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// fake is a Component that writes down what is done to it.
type fake struct {
	name     string
	diary    *diary
	startErr error
	never    bool
	mu       sync.Mutex
	state    State
}

type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) index(line string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, l := range d.lines {
		if l == line {
			return i
		}
	}
	return -1
}

func (f *fake) Name() string               { return f.name }
func (f *fake) Init(context.Context) error { f.diary.add("init %s", f.name); return nil }
func (f *fake) Start(context.Context) error {
	f.diary.add("start %s", f.name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = Ready
	if f.never {
		f.state = Starting
	}
	return f.startErr
}
func (f *fake) Stop(context.Context) error  { f.diary.add("stop %s", f.name); return nil }
func (f *fake) Ready(context.Context) error { return errors.New("the dog ate it") }
func (f *fake) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Status{Name: f.name, State: f.state}
}

func table(d *diary) []Entry {
	return []Entry{
		{Component: &fake{name: "etcd", diary: d}},
		{Component: &fake{name: "api", diary: d}, After: []string{"etcd"}},
		{Component: &fake{name: "node", diary: d}, After: []string{"api"}},
		{Component: &fake{name: "registry", diary: d}},
	}
}

func TestRunnerKeepsTheOrder(t *testing.T) {
	d := &diary{}
	r, err := NewRunner(quiet, time.Second, table(d))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{
		{"start etcd", "start api"}, {"start api", "start node"}, {"init api", "start api"},
		{"stop node", "stop api"}, {"stop api", "stop etcd"},
	} {
		if a, b := d.index(pair[0]), d.index(pair[1]); a < 0 || b < 0 || a > b {
			t.Errorf("%q must come before %q: %v", pair[0], pair[1], d.lines)
		}
	}
}

func TestRunnerSaysWhoFailedAndStartsNobodyAfterIt(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(*fake)
		want string
	}{
		{"start fails", func(f *fake) { f.startErr = errors.New("no room") }, "starting api: no room"},
		{"never ready", func(f *fake) { f.never = true }, "api was not ready after 100ms: the dog ate it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := &diary{}
			entries := table(d)
			tc.make(entries[1].Component.(*fake))
			r, _ := NewRunner(quiet, 100*time.Millisecond, entries)
			err := r.Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if d.index("start node") >= 0 {
				t.Error("node started after api failed")
			}
		})
	}
}

func TestRunnerRefusesBadTables(t *testing.T) {
	d := &diary{}
	a := Entry{Component: &fake{name: "a", diary: d}}
	for name, entries := range map[string][]Entry{
		"twice":       {a, a},
		"after later": {{Component: &fake{name: "b", diary: d}, After: []string{"a"}}, a},
	} {
		if _, err := NewRunner(quiet, time.Second, entries); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func shell(t *testing.T, script string, change func(*Spec)) *Process {
	t.Helper()
	s := Spec{
		Name: "child", Command: []string{"/bin/sh", "-c", script}, Env: os.Environ(),
		Log: LogFile{Path: filepath.Join(t.TempDir(), "child.log"), BytesMax: 1 << 20, Files: 1}, StopTimeout: 300 * time.Millisecond,
	}
	if change != nil {
		change(&s)
	}
	p, err := NewProcess(quiet, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	return p
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestProcessIsStartedAgain(t *testing.T) {
	p := shell(t, "exec tail -f /dev/null", nil)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "readiness", func() bool { return p.Status().State == Ready })
	first := p.Status().PID
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "another child", func() bool { s := p.Status(); return s.State == Ready && s.PID != first && s.Restarts == 1 })
	second := p.Status().PID
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(second, 0); err == nil {
		t.Errorf("child %d outlived Stop", second)
	}
	if s := p.Status(); s.State != Stopped || s.PID != 0 {
		t.Errorf("after Stop: %+v", s)
	}
}

func TestProcessThatIgnoresSIGTERMIsKilled(t *testing.T) {
	p := shell(t, `trap "" TERM; echo deaf; while :; do read x < /dev/zero; done`, nil)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "its trap", func() bool { b, _ := os.ReadFile(p.spec.Log.Path); return strings.Contains(string(b), "deaf") })
	pid := p.Status().PID
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("it lives")
	}
}

func TestProcessOnce(t *testing.T) {
	ok := shell(t, "echo hello", func(s *Spec) { s.Once = true })
	if err := ok.Start(t.Context()); err != nil || ok.Status().State != Done {
		t.Errorf("err %v, state %v; want none, Done", err, ok.Status().State)
	}
	if b, _ := os.ReadFile(ok.spec.Log.Path); string(b) != "hello\n" {
		t.Errorf("log holds %q", b)
	}
	if i, _ := os.Stat(ok.spec.Log.Path); i.Mode().Perm() != 0o600 {
		t.Errorf("log has mode %v, want 0600", i.Mode().Perm())
	}
	bad := shell(t, "exit 3", func(s *Spec) { s.Once = true })
	if err := bad.Start(t.Context()); err == nil || bad.Status().State != Failed {
		t.Errorf("err %v, state %v; want one, Failed", err, bad.Status().State)
	}
}

func TestProcessReadiness(t *testing.T) {
	var asked int
	p := shell(t, "exec tail -f /dev/null", func(s *Spec) {
		s.Ready = func(context.Context) error {
			if asked++; asked < 3 {
				return errors.New("not yet")
			}
			return nil
		}
	})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "readiness", func() bool { return p.Status().State == Ready })
	if asked < 3 {
		t.Errorf("ready after %d questions", asked)
	}
}
