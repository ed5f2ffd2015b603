package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/containerd/mount"
	"github.com/containerd/containerd/namespaces"
	"github.com/containerd/containerd/runtime/v2/task"
)

// stateFile is where upstream's service keeps, in the bundle, what a later
// invocation needs.
const stateFile = "state.json"

// state is the part of it that Cleanup needs.
type state struct {
	Rootfs  string `json:"rootfs"`
	Options struct {
		BinaryName string `json:"binaryName"`
		Root       string `json:"root"`
	} `json:"options"`
}

// Cleanup ends the container of a daemon that has died, and is called in its
// bundle. Upstream's reads the state into a copy of its own (state.load has a value
// receiver) and then looks for a runsc and a container that are not there: the
// sandbox would go on, unseen, beside the one that takes its place.
func (s *service) Cleanup(ctx context.Context) (*task.DeleteResponse, error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(stateFile)
	if errors.Is(err, os.ErrNotExist) {
		return s.Shim.Cleanup(ctx) // it died before there was a container
	}
	if err != nil {
		return nil, fmt.Errorf("reading the state of %s: %w", s.id, err)
	}
	var st state
	if err := json.Unmarshal(b, &st); err != nil {
		return nil, fmt.Errorf("reading the state of %s: %w", s.id, err)
	}
	if out, err := remove(ctx, st, ns, s.id).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("removing container %s: %w: %s", s.id, err, out)
	}
	if err := mount.UnmountAll(st.Rootfs, 0); err != nil {
		return nil, fmt.Errorf("unmounting the root of %s: %w", s.id, err)
	}
	return &task.DeleteResponse{ExitedAt: time.Now(), ExitStatus: 128 + uint32(syscall.SIGKILL)}, nil
}

// remove is the command that kills and removes a container; without one it does
// nothing.
func remove(ctx context.Context, st state, ns, id string) *exec.Cmd {
	return exec.CommandContext(ctx, st.Options.BinaryName, "--root="+filepath.Join(st.Options.Root, ns), "delete", "--force", id)
}
