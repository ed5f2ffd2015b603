package trial

import (
	"encoding/json"
	"fmt"

	"polder.dev/polder/model/eval"
)

// PlanVariable has a Plan, as JSON.
const PlanVariable = "POLDER_EVALUATION"

// Where the pod finds what it needs to ask the gateway.
const (
	DirGateway = "/polder/gateway"
	FileCA     = "ca.crt"
	FileToken  = "token"
)

// Plan is what a trial is told to do.
type Plan struct {
	Task string `json:"task"`
	Seed int64  `json:"seed"`
	// Models in the order of the report; the first is the candidate.
	Models []Entrant `json:"models"`
	Data   Data      `json:"data"`
	// Trained is what the models were trained on, if that is known.
	Trained      *Data              `json:"trained,omitempty"`
	Requirements []eval.Requirement `json:"requirements,omitempty"`
	CostPerHour  float64            `json:"costPerHour,omitempty"`
	// Threads that a model may use.
	Threads int `json:"threads,omitempty"`
	// Sandbox that the trial runs in, for the report.
	Sandbox string `json:"sandbox,omitempty"`
	// Program: answers are judged by one; see StageVariable.
	Program bool `json:"program,omitempty"`
	// System and TokensMax of a generation: what a service is told before the prompt, and
	// how many tokens an answer may have.
	System    string `json:"system,omitempty"`
	TokensMax int32  `json:"tokensMax,omitempty"`
}

// Entrant is one model that takes part: its files, or a service that is asked.
type Entrant struct {
	Name      string `json:"name"`
	Dir       string `json:"dir,omitempty"`
	Reference string `json:"reference,omitempty"`
	Digest    string `json:"digest,omitempty"`
	// Service or Route by name, and where it is asked: an address up to, but without,
	// /v2/models/ or /v1/.
	Service string `json:"service,omitempty"`
	Route   string `json:"route,omitempty"`
	URL     string `json:"url,omitempty"`
	// Labels of a service's classes; empty: as it says itself, else 0, 1, 2 and so on.
	Labels []string `json:"labels,omitempty"`
	// Revisions of a service that are known, and the digest of the model that each serves.
	Revisions map[string]string `json:"revisions,omitempty"`
	// CostPerHour of what answers, of a service.
	CostPerHour float64 `json:"costPerHour,omitempty"`
	// TimeoutSeconds that a request may take, with what has to be woken for it.
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
}

// Remote reports whether an entrant is asked over the network.
func (e *Entrant) Remote() bool { return e.Service != "" || e.Route != "" }

// What is the entrant in words.
func (e *Entrant) What() string {
	if e.Route != "" {
		return "route " + e.Route
	}
	return "service " + e.Service
}

// Data is a table in a directory.
type Data struct {
	Dir string `json:"dir"`
	// File in it; empty: the only table there is.
	File   string   `json:"file,omitempty"`
	Label  string   `json:"label,omitempty"`
	Slices []string `json:"slices,omitempty"`
	From   int64    `json:"from,omitempty"`
	To     int64    `json:"to,omitempty"`
}

// Encode writes a plan for PlanVariable.
func (p *Plan) Encode() (string, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("writing the plan of an evaluation: %w", err)
	}
	return string(b), nil
}

// Decode reads a plan.
func Decode(text string) (*Plan, error) {
	var p Plan
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return nil, fmt.Errorf("reading %s: %w", PlanVariable, err)
	}
	if len(p.Models) == 0 || len(p.Models) > eval.ModelsMax || p.Data.Dir == "" {
		return nil, fmt.Errorf("%s names %d models and the data %q; it needs both", PlanVariable, len(p.Models), p.Data.Dir)
	}
	return &p, nil
}
