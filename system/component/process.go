package component

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
	"gopkg.in/natefinch/lumberjack.v2"

	"polder.dev/polder/internal/logs"
)

const (
	backoffMin  = 200 * time.Millisecond
	backoffMax  = 10 * time.Second
	steadyAfter = 30 * time.Second // a child that lived this long starts afresh in backoff
	readyEvery  = 50 * time.Millisecond
	readyLimit  = 3 * time.Second // of one question
)

// Spec says what a Process runs.
type Spec struct {
	// Name of the part.
	Name string
	// Command is the program's absolute path and its arguments.
	Command []string
	// Env is the child's whole environment.
	Env []string
	// Netns is the network namespace's file; empty stays in this one.
	Netns string
	// Log is the file its output goes to, rotated.
	Log LogFile
	// Init is called before the first start. May be nil.
	Init func(ctx context.Context) error
	// Ready tells whether the child serves. May be nil: ready once started.
	Ready func(ctx context.Context) error
	// StopTimeout between SIGTERM and SIGKILL.
	StopTimeout time.Duration
	// Once marks a child that does one thing and ends; it is not restarted.
	Once bool
}

// LogFile limits a log: Files rotated files of BytesMax besides the present one.
type LogFile struct {
	Path     string
	BytesMax int64
	Files    int
}

// Process is a child under supervision. It dies with its supervisor, at once,
// whatever way the supervisor ends.
type Process struct {
	log  *slog.Logger
	spec Spec

	mu     sync.Mutex
	status Status
	child  *os.Process
	stop   context.CancelFunc // ends supervision; nil unless started
	done   chan struct{}      // closed when supervision has ended
}

var _ Component = (*Process)(nil)

// NewProcess returns the child spec describes, not started.
func NewProcess(log *slog.Logger, spec Spec) (*Process, error) {
	if spec.Name == "" || len(spec.Command) == 0 {
		return nil, errors.New("process: name and command must be given")
	}
	if spec.StopTimeout == 0 {
		spec.StopTimeout = 10 * time.Second
	}
	return &Process{
		log:    log.With(logs.Component, spec.Name),
		spec:   spec,
		status: Status{Name: spec.Name, State: Waiting, Since: time.Now(), Log: spec.Log.Path},
	}, nil
}

// Name implements Component.
func (p *Process) Name() string { return p.spec.Name }

// Status implements Component.
func (p *Process) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Init implements Component.
func (p *Process) Init(ctx context.Context) error {
	if p.spec.Init == nil {
		return nil
	}
	return p.spec.Init(ctx)
}

// Ready implements Component.
func (p *Process) Ready(ctx context.Context) error {
	s := p.Status()
	if s.State == Done {
		return nil
	}
	if s.PID == 0 {
		if s.Message != "" {
			return errors.New(s.Message)
		}
		return fmt.Errorf("%s is not running", s.Name)
	}
	if p.spec.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	return p.spec.Ready(ctx)
}

// Start implements Component.
func (p *Process) Start(ctx context.Context) error {
	p.mu.Lock()
	if p.stop != nil {
		p.mu.Unlock()
		return nil
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.stop, p.done = cancel, make(chan struct{})
	p.mu.Unlock()
	if p.spec.Once {
		defer close(p.done)
		return p.once(ctx)
	}
	go p.supervise(run)
	return nil
}

// Stop implements Component.
func (p *Process) Stop(ctx context.Context) error {
	p.mu.Lock()
	stop, done := p.stop, p.done
	p.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	p.signal(syscall.SIGTERM)
	t := time.NewTimer(p.spec.StopTimeout)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		p.log.Warn("did not stop in time, killing it", logs.Duration, p.spec.StopTimeout)
		p.signal(syscall.SIGKILL)
		<-done
	case <-ctx.Done():
		p.signal(syscall.SIGKILL)
		<-done
	}
	p.mu.Lock()
	p.stop = nil
	p.mu.Unlock()
	p.set(Stopped, "")
	return nil
}

func (p *Process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child != nil {
		_ = p.child.Signal(s) // an error means it is gone, which done will tell
	}
}

func (p *Process) set(s State, msg string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status.State != s {
		p.status.Since = time.Now()
	}
	p.status.State, p.status.Message = s, msg
}

// once runs the child to its end.
func (p *Process) once(ctx context.Context) error {
	p.set(Starting, "")
	began := time.Now()
	if err := p.run(ctx, nil); err != nil {
		p.set(Failed, err.Error())
		return fmt.Errorf("%s: %w; see %s", p.spec.Name, err, p.spec.Log.Path)
	}
	p.mu.Lock()
	p.status.ReadySeconds = time.Since(began).Seconds()
	p.mu.Unlock()
	p.set(Done, "")
	return nil
}

// supervise keeps the child running until ctx ends.
func (p *Process) supervise(ctx context.Context) {
	defer close(p.done)
	backoff := backoffMin
	for {
		p.set(Starting, p.Status().Message)
		began := time.Now()
		err := p.run(ctx, p.watchReady)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > steadyAfter {
			backoff = backoffMin
		}
		msg := "ended by itself"
		if err != nil {
			msg = err.Error()
		}
		p.log.Warn("ended, starting it again", logs.Err, msg, logs.Duration, backoff)
		p.set(Restarting, msg)
		p.mu.Lock()
		p.status.Restarts++
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, backoffMax)
	}
}

// watchReady marks the child ready when it first is.
func (p *Process) watchReady(ctx context.Context) {
	began := time.Now()
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		if err := p.Ready(ctx); err == nil {
			p.mu.Lock()
			p.status.ReadySeconds = time.Since(began).Seconds()
			p.mu.Unlock()
			p.set(Ready, "")
			return
		} else if ctx.Err() == nil {
			p.set(Starting, err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// run starts the child and waits for its end. The thread it is started from is
// kept for as long as the child lives, because the kernel sends the parent-death
// signal when that thread ends, and is thrown away if it entered a namespace.
func (p *Process) run(ctx context.Context, while func(context.Context)) error {
	out := &lumberjack.Logger{
		Filename:   p.spec.Log.Path,
		MaxSize:    max(1, int(p.spec.Log.BytesMax>>20)),
		MaxBackups: p.spec.Log.Files,
	}
	defer out.Close()
	result := make(chan error, 1)
	started := make(chan bool, 1)
	go func() {
		runtime.LockOSThread()
		if p.spec.Netns == "" {
			defer runtime.UnlockOSThread()
		}
		result <- p.spawn(out, started)
	}()
	watch, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	if ok := <-started; ok && while != nil {
		wg.Go(func() { while(watch) })
	}
	defer wg.Wait()
	defer cancel()
	if ctx.Err() != nil { // Stop came before the child was there to be signalled
		p.signal(syscall.SIGTERM)
	}
	err := <-result
	p.mu.Lock()
	p.child, p.status.PID = nil, 0
	p.mu.Unlock()
	return err
}

// spawn runs one child on the calling thread.
func (p *Process) spawn(out io.Writer, started chan<- bool) error {
	if p.spec.Netns != "" {
		if err := enter(p.spec.Netns); err != nil {
			started <- false
			return err
		}
	}
	cmd := exec.Command(p.spec.Command[0], p.spec.Command[1:]...)
	cmd.Env, cmd.Dir = p.spec.Env, "/"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 2 * time.Second // grandchildren may hold the log's pipe
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		started <- false
		return fmt.Errorf("starting %s: %w", p.spec.Command[0], err)
	}
	p.mu.Lock()
	p.child, p.status.PID = cmd.Process, cmd.Process.Pid
	p.mu.Unlock()
	started <- true
	err := cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return err
}

// enter moves the calling, locked thread into the namespace at path.
func enter(path string) error {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("opening network namespace %s: %w", path, err)
	}
	defer ns.Close()
	if err := netns.Set(ns); err != nil {
		return fmt.Errorf("entering network namespace %s: %w", path, err)
	}
	return nil
}
