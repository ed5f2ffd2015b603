package main

import (
	"context"
	"errors"
	"testing"

	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/runtime/v2/shim"
	taskapi "github.com/containerd/containerd/runtime/v2/task"
)

// upstream counts how often it is asked for a state; its containers have ended.
type upstream struct {
	shim.Shim
	asked int
	start error
}

func (u *upstream) Create(context.Context, *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	return &taskapi.CreateTaskResponse{Pid: 7}, nil
}

func (u *upstream) Start(context.Context, *taskapi.StartRequest) (*taskapi.StartResponse, error) {
	return &taskapi.StartResponse{Pid: 7}, u.start
}

func (u *upstream) State(context.Context, *taskapi.StateRequest) (*taskapi.StateResponse, error) {
	u.asked++
	return &taskapi.StateResponse{Status: task.StatusStopped}, nil
}

func created(t *testing.T, u *upstream) *service {
	t.Helper()
	s := &service{Shim: u, id: "c"}
	if _, err := s.Create(t.Context(), &taskapi.CreateTaskRequest{ID: "c", Bundle: "/b", Stdout: "/out", Stderr: "/err"}); err != nil {
		t.Fatal(err)
	}
	return s
}

func ask(t *testing.T, s *service, exec string) *taskapi.StateResponse {
	t.Helper()
	got, err := s.State(t.Context(), &taskapi.StateRequest{ID: "c", ExecID: exec})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestOnlyTheFirstAnswerAfterAStartIsOurs(t *testing.T) {
	u := &upstream{}
	s := created(t, u)
	if got := ask(t, s, ""); got.Status != task.StatusStopped || u.asked != 1 {
		t.Errorf("before the start: %v, upstream asked %d times, want once", got, u.asked)
	}
	if _, err := s.Start(t.Context(), &taskapi.StartRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	if ask(t, s, "exec"); u.asked != 2 {
		t.Errorf("about another process: upstream asked %d times, want 2", u.asked)
	}
	got := ask(t, s, "")
	if u.asked != 2 || got.ID != "c" || got.Bundle != "/b" || got.Pid != 7 || got.Status != task.StatusRunning || got.Stdout != "/out" || got.Stderr != "/err" {
		t.Errorf("after the start: %v, upstream asked %d times", got, u.asked)
	}
	if got := ask(t, s, ""); got.Status != task.StatusStopped || u.asked != 3 {
		t.Errorf("the second time: %v, upstream asked %d times, want 3", got, u.asked)
	}
}

func TestUpstreamAnswersWhereNothingHasJustStarted(t *testing.T) {
	for name, begin := range map[string]func(*service){
		"a start that failed": func(s *service) {
			s.Shim.(*upstream).start = errors.New("no")
			if _, err := s.Start(t.Context(), &taskapi.StartRequest{ID: "c"}); err == nil {
				t.Error("a start that failed is none")
			}
		},
		"another process": func(s *service) {
			if _, err := s.Start(t.Context(), &taskapi.StartRequest{ID: "c", ExecID: "exec"}); err != nil {
				t.Error(err)
			}
		},
		"a start of long ago": func(s *service) {
			if _, err := s.Start(t.Context(), &taskapi.StartRequest{ID: "c"}); err != nil {
				t.Error(err)
			}
			s.started = s.started.Add(-fresh)
		},
	} {
		u := &upstream{}
		s := created(t, u)
		begin(s)
		if got := ask(t, s, ""); got.Status != task.StatusStopped || u.asked != 1 {
			t.Errorf("%s: %v, upstream asked %d times, want once", name, got, u.asked)
		}
	}
}
