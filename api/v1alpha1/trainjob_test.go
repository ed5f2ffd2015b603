package v1alpha1

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAJobIsWrittenAsItWasRead: a spec is immutable, so a client that reads a job
// into the Go type and writes it back must not say more than the job did.
func TestAJobIsWrittenAsItWasRead(t *testing.T) {
	for name, text := range map[string]string{
		"bare":      `{"runtime":"r","code":{"image":"c"},"command":["a"]}`,
		"defaulted": `{"runtime":"r","code":{"image":"c"},"command":["a"],"workers":1,"deadlineSeconds":86400,"retries":3,"keepSeconds":3600}`,
		"zeros":     `{"runtime":"r","code":{"image":"c"},"command":["a"],"retries":0,"keepSeconds":0}`,
		"full": `{"runtime":"r","code":{"image":"c"},"command":["a"],"parameters":{"a":"b"},"env":[{"name":"E","value":"1"}],"data":[{"name":"d","image":"i"}],` +
			`"workers":2,"resources":{"cpu":"1","memory":"1Gi"},"accelerators":{"count":1,"kinds":["gpu"]},"checkpoints":{"size":"1Gi"},"output":{"model":"m"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			var spec TrainJobSpec
			if err := json.Unmarshal([]byte(text), &spec); err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(spec)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(text, string(b)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDone(t *testing.T) {
	for s, want := range map[State]bool{
		"": false, StatePending: false, StateRunning: false, StateRestarting: false, StatePublishing: false,
		StateSucceeded: true, StateFailed: true, StateCancelled: true,
	} {
		if s.Done() != want {
			t.Errorf("%q is done: %v", s, s.Done())
		}
	}
}
