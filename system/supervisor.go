package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"polder.dev/polder/internal/logs"
	"polder.dev/polder/internal/pki"
	"polder.dev/polder/internal/version"
	"polder.dev/polder/node/containerd"
	"polder.dev/polder/node/firewall"
	"polder.dev/polder/node/network"
	"polder.dev/polder/system/cgroup"
	"polder.dev/polder/system/component"
	"polder.dev/polder/system/layout"
	"polder.dev/polder/system/remnant"
)

const (
	readyLimit = 2 * time.Minute // of one component
	stopLimit  = 90 * time.Second
	renewEvery = 24 * time.Hour // looks at certificates
)

// CloudState is what the cloud as a whole is doing.
type CloudState string

// The states of a cloud. Down is said where no supervisor runs.
const (
	Down     CloudState = "Down"
	Starting CloudState = "Starting"
	Up       CloudState = "Up"
	Stopping CloudState = "Stopping"
	Failed   CloudState = "Failed"
)

// Status is what `polder status -o json` prints.
type Status struct {
	State      CloudState         `json:"state"`
	Message    string             `json:"message,omitempty"`
	Version    string             `json:"version,omitempty"`
	DataDir    string             `json:"dataDir"`
	ID         string             `json:"id"`
	Node       string             `json:"node"`
	API        string             `json:"api"`
	Registry   string             `json:"registry"`
	Gateway    string             `json:"gateway"`
	PID        int                `json:"pid,omitempty"`
	Since      *time.Time         `json:"since,omitempty"`
	UpSeconds  float64            `json:"upSeconds,omitempty"` // how long `polder up` took
	Components []component.Status `json:"components,omitempty"`
}

// supervisor holds one cloud up.
type supervisor struct {
	log      *slog.Logger
	cloud    layout.Cloud
	runner   *component.Runner
	keepPods atomic.Bool
	stop     context.CancelFunc

	mu      sync.Mutex
	state   CloudState
	message string
	began   time.Time
	took    time.Duration
}

// supervise holds the cloud up until ctx ends or it is told to stop. program is
// the path of polder; up is called once, when the cloud is up.
func supervise(ctx context.Context, log *slog.Logger, c layout.Cloud, program string, up func()) error {
	lock, err := hold(c)
	if err != nil {
		return err
	}
	defer lock.Close()
	dir, err := layout.Libexec(program)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &supervisor{log: log, cloud: c, stop: cancel, state: Starting, began: time.Now()}
	s.keepPods.Store(true) // unless told otherwise by `polder down`
	if err := prepare(ctx, log, c); err != nil {
		return err
	}
	probe, err := newProbe(c)
	if err != nil {
		return err
	}
	entries, err := table(&assembly{
		log: log, cloud: c, program: program, libexec: dir, probe: probe, keepPods: &s.keepPods,
		options: containerd.Options{Libexec: dir, KeepOOMScore: !mayLowerOOMScore(), Kata: kata()},
	})
	if err != nil {
		return err
	}
	if s.runner, err = component.NewRunner(log, readyLimit, entries); err != nil {
		return err
	}
	return s.run(ctx, up)
}

// errHeld says that another supervisor holds the data directory.
var errHeld = errors.New("a supervisor of this cloud is running already")

// hold takes the lock of the data directory, which the kernel gives back when
// the process ends.
func hold(c layout.Cloud) (*os.File, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making data directory: %w", err)
	}
	f, err := os.OpenFile(c.Path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errHeld
		}
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	return f, nil
}

// prepare makes everything that components find in place when they start.
func prepare(ctx context.Context, log *slog.Logger, c layout.Cloud) error {
	if err := freshRun(c); err != nil {
		return err
	}
	for _, d := range []string{"pki", "etc", "logs", "etcd", "containerd", "kubelet", "registry", "volumes"} {
		if err := os.MkdirAll(c.Path(d), 0o700); err != nil {
			return fmt.Errorf("making %s: %w", c.Path(d), err)
		}
	}
	if err := saveConfig(c); err != nil {
		return err
	}
	if err := identify(c, time.Now()); err != nil {
		return err
	}
	if err := cgroup.Ensure(c.Cgroup()); err != nil {
		return err
	}
	log.Info("network", "netns", c.Netns(), "cidr", c.CIDR)
	if err := network.Ensure(ctx, c); err != nil {
		return err
	}
	return network.Within(c, func() error { return firewall.Close(ctx, c.PodCIDR()) })
}

// freshRun makes the directory of what does not outlive a boot, and empties it
// if it is from a boot before, where /run is kept on a disk.
func freshRun(c layout.Cloud) error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Errorf("reading this boot's id: %w", err)
	}
	kept, err := os.ReadFile(c.Run("boot"))
	if err == nil && string(kept) != string(boot) {
		if err := remnant.Unmount(c); err != nil {
			return err
		}
		if err := os.RemoveAll(c.Run()); err != nil {
			return fmt.Errorf("removing what is left of a boot before: %w", err)
		}
	}
	if err := os.MkdirAll(c.Run(), 0o700); err != nil {
		return fmt.Errorf("making %s: %w", c.Run(), err)
	}
	return pki.WriteFile(c.Run("boot"), boot)
}

func (s *supervisor) run(ctx context.Context, up func()) error {
	socket, err := listen(s.cloud.Socket())
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(socket); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the socket fell silent", logs.Err, err)
		}
	})
	defer wg.Wait()
	defer server.Close()

	err = s.runner.Start(ctx)
	switch {
	case ctx.Err() != nil:
		err = nil // told to stop while starting
	case err != nil:
		s.set(Failed, err.Error())
		s.log.Error("the cloud did not start", logs.Err, err)
	default:
		s.took = time.Since(s.began)
		s.set(Up, "")
		s.log.Info("the cloud is up", logs.Duration, s.took.Round(time.Millisecond))
		up()
		s.hold(ctx)
	}
	failed := err
	s.set(Stopping, s.snapshot().Message)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	return errors.Join(failed, s.runner.Stop(limit))
}

// hold waits for the end and renews certificates meanwhile.
func (s *supervisor) hold(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if err := identify(s.cloud, now); err != nil {
				s.log.Error("renewing certificates", logs.Err, err)
			}
		}
	}
}

func (s *supervisor) set(state CloudState, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.message = state, message
}

func (s *supervisor) snapshot() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := describe(s.cloud)
	st.State, st.Message, st.PID, st.Since, st.UpSeconds = s.state, s.message, os.Getpid(), &s.began, s.took.Seconds()
	st.Version = version.String()
	st.Components = s.runner.Status()
	return st
}

// describe is what is known of a cloud without asking anybody.
func describe(c layout.Cloud) Status {
	return Status{State: Down, DataDir: c.Dir, ID: c.ID, Node: c.Config.Node.Name, API: c.APIURL(), Registry: c.RegistryURL(), Gateway: c.GatewayURL()}
}

// listen opens the supervisor's socket, for root alone. The lock is held, so a
// socket that lies there is dead.
func listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing dead socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("opening socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("closing socket to others: %w", err)
	}
	return l, nil
}

func (s *supervisor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(s.snapshot()); err != nil {
			s.log.Warn("answering status", logs.Err, err)
		}
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, r *http.Request) {
		s.keepPods.Store(r.URL.Query().Get("pods") == "keep")
		w.WriteHeader(http.StatusAccepted)
		s.stop()
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry(), promhttp.HandlerOpts{}))
	return mux
}

// mayLowerOOMScore reports whether this process has CAP_SYS_RESOURCE.
func mayLowerOOMScore() bool {
	const sysResource = 24 // include/uapi/linux/capability.h
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		var effective uint64
		if n, _ := fmt.Sscanf(line, "CapEff: %x", &effective); n == 1 {
			return effective&(1<<sysResource) != 0
		}
	}
	return false
}

// kata is the path of an installed Kata Containers shim, or empty.
func kata() string {
	for _, p := range []string{"/opt/kata/bin/containerd-shim-kata-v2", "/usr/local/bin/containerd-shim-kata-v2", "/usr/bin/containerd-shim-kata-v2"} {
		if s, err := os.Stat(p); err == nil && !s.IsDir() {
			return filepath.Clean(p)
		}
	}
	return ""
}
