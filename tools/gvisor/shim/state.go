package main

import (
	"context"
	"time"

	"github.com/containerd/containerd/api/types/task"
	taskapi "github.com/containerd/containerd/runtime/v2/task"
)

// fresh is how long after a container's start its state is known without asking.
const fresh = time.Second

// Create remembers what a container's state names.
func (s *service) Create(ctx context.Context, r *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	resp, err := s.Shim.Create(ctx, r)
	if err == nil {
		s.mu.Lock()
		s.state = taskapi.StateResponse{ID: r.ID, Bundle: r.Bundle, Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal}
		s.mu.Unlock()
	}
	return resp, err
}

// Start remembers when the container began to run.
func (s *service) Start(ctx context.Context, r *taskapi.StartRequest) (*taskapi.StartResponse, error) {
	resp, err := s.Shim.Start(ctx, r)
	if err == nil && r.ExecID == "" {
		s.mu.Lock()
		s.state.Pid, s.started = resp.Pid, time.Now()
		s.mu.Unlock()
	}
	return resp, err
}

// State answers the first question after a start itself: containerd asks at once,
// only for the process id, and upstream starts runsc to answer, which takes as long
// as starting the container did. That a container ended meanwhile is not lost: it
// is an event of its own.
func (s *service) State(ctx context.Context, r *taskapi.StateRequest) (*taskapi.StateResponse, error) {
	if r.ExecID == "" {
		s.mu.Lock()
		state, known := s.state, time.Since(s.started) < fresh
		s.started = time.Time{}
		s.mu.Unlock()
		if known {
			state.Status = task.StatusRunning
			return &state, nil
		}
	}
	return s.Shim.State(ctx, r)
}
