// Package component starts, watches and stops the parts of a cloud. A part is a
// Component; nearly all are Processes, children under supervision. The Runner
// starts each as soon as those it comes after are ready, and stops all in the
// opposite order. Only system imports this package. It knows no part by name.
//
//	          Init, Start           Ready
//	Waiting ───────────► Starting ───────► Ready ──── Stop ───► Stopped
//	                        ▲                │
//	                        │ backoff        │ exits
//	                        └── Restarting ◄─┘
//
// A part that does not become ready in time leaves the Runner's Start with an
// error; its child stays under supervision, so that `polder logs` can say why.
package component

import (
	"context"
	"time"
)

// Component is one part of the cloud.
type Component interface {
	// Name is unique in a Runner.
	Name() string
	// Init writes what the part needs before it starts: files, certificates,
	// directories. It may be called again.
	Init(ctx context.Context) error
	// Start returns when the part has been started, not when it is ready; a
	// part that does one thing and ends returns when it is done.
	Start(ctx context.Context) error
	// Stop returns when nothing of the part runs any more. It is safe on a part
	// that never started.
	Stop(ctx context.Context) error
	// Ready returns nil when the part serves now, else why it does not.
	Ready(ctx context.Context) error
	// Status is what the part is doing.
	Status() Status
}

// State of a component in one word.
type State string

// The states; the package's comment has the diagram.
const (
	Waiting    State = "Waiting"
	Starting   State = "Starting"
	Ready      State = "Ready"
	Restarting State = "Restarting"
	Done       State = "Done"
	Stopped    State = "Stopped"
	Failed     State = "Failed"
)

// Status of a component, as `polder status` shows it.
type Status struct {
	Name     string    `json:"name"`
	State    State     `json:"state"`
	PID      int       `json:"pid,omitempty"`
	Restarts int       `json:"restarts"`
	Since    time.Time `json:"since"`
	// ReadySeconds is how long the last start took until ready.
	ReadySeconds float64 `json:"readySeconds,omitempty"`
	Message      string  `json:"message,omitempty"`
	Log          string  `json:"log,omitempty"`
}
