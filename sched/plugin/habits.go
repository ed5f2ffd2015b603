package plugin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/sched"
)

// habits is what requests are expected to be like: what a file says, or what they were.
type habits struct {
	preset  *sched.Workload
	learner *sched.Learner
	met     [2]map[types.UID]bool // pods that were counted; the older half is forgotten in one
	known   int                   // pods counted
	since   int                   // of these, since the last workload
}

// How many pods it takes for one to count half, when the board learns of them, and how
// many are remembered so as not to be counted at each attempt.
const (
	halfPods   = 4096
	learnLeast = 16
	learnMost  = 1024
	metMax     = 1 << 16
)

func newHabits(file string) (*habits, error) {
	l, err := sched.NewLearner(halfPods)
	if err != nil {
		return nil, err
	}
	h := &habits{learner: l, met: [2]map[types.UID]bool{{}, {}}}
	if file == "" {
		return h, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the expected workload: %w", err)
	}
	h.preset = &sched.Workload{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(h.preset); err != nil {
		return nil, fmt.Errorf("workload %s: %w; docs/formats/config.md says what it holds", file, err)
	}
	if err := h.preset.Check(); err != nil {
		return nil, fmt.Errorf("workload %s: %w", file, err)
	}
	return h, nil
}

// meet counts a pod once, however often it is tried.
func (h *habits) meet(pod types.UID, r sched.Request) {
	if h.preset != nil || h.met[0][pod] || h.met[1][pod] {
		return
	}
	if len(h.met[0]) >= metMax/2 {
		h.met[0], h.met[1] = map[types.UID]bool{}, h.met[0]
	}
	h.met[0][pod] = true
	h.learner.Learn(r)
	h.known++
	h.since++
}

// due reports whether so much was learned that the board should know. It costs the
// board's memory of scores, so that it is done more rarely the more is known.
func (h *habits) due() bool {
	return h.since >= min(max(h.known/8, learnLeast), learnMost)
}

func (h *habits) workload() sched.Workload {
	h.since = 0
	if h.preset != nil {
		return *h.preset
	}
	if h.known == 0 {
		return sched.Workload{}
	}
	return h.learner.Workload()
}
