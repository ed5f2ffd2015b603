//go:build e2e

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// dataRoot is where clouds of tests lie: not below /tmp, which may be a tmpfs,
// and not on overlayfs.
const dataRoot = "/var/tmp"

// dirPrefix begins the name of every cloud's data directory; the test's process
// id follows, so that another run knows whether its owner still lives.
const dirPrefix = "polder-e2e-"

// program is the program under test, absolute.
var program string

// made are the clouds that this run made and has to remove.
var made struct {
	sync.Mutex
	clouds []*cloud
}

// running is what commands on clouds run under; interrupt ends them all.
var running, interrupt = context.WithCancel(context.Background())

func TestMain(m *testing.M) {
	flag.Parse()
	log.SetLogger(logr.Discard()) // of the clients; errors come back to the tests
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if err := ready(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with the process
		s := <-signals
		interrupt()
		fmt.Fprintln(os.Stderr, "e2e: removing the clouds after", s)
		_ = removeAll() // says itself what it could not do
		os.Exit(1)
	}()
	code := m.Run()
	for _, text := range autopsies.texts {
		fmt.Fprintln(os.Stderr, text)
	}
	if dir, err := probeDir(); err == nil {
		os.RemoveAll(dir)
	}
	if err := removeAll(); err != nil && code == 0 {
		return 1
	}
	return code
}

// ready finds the program and removes what killed runs left.
func ready() error {
	if os.Geteuid() != 0 {
		return errors.New("these tests run clouds on this machine, and need root")
	}
	path := os.Getenv("POLDER_E2E_BIN")
	if path == "" {
		path = "../../bin/polder"
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(abs); err != nil {
		return fmt.Errorf("the program under test: %w; run `make build`, or set POLDER_E2E_BIN", err)
	}
	program = abs
	return sweep()
}

// sweep removes the clouds of runs whose process is gone.
func sweep() error {
	dirs, err := filepath.Glob(filepath.Join(dataRoot, dirPrefix+"*"))
	if err != nil {
		return err
	}
	for _, d := range dirs {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(d), dirPrefix), "-")
		if _, err := strconv.Atoi(owner); err != nil {
			continue
		}
		if _, err := os.Stat("/proc/" + owner); err == nil {
			continue
		}
		fmt.Fprintln(os.Stderr, "e2e: removing what a killed run left in", d)
		c, err := at(d)
		if err != nil {
			return err
		}
		if err := c.remove(); err != nil {
			return err
		}
	}
	return nil
}

// removeAll removes the clouds of this run.
func removeAll() error {
	made.Lock()
	clouds := slices.Clone(made.clouds)
	made.Unlock()
	var errs []error
	for _, c := range clouds {
		if err := c.remove(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
