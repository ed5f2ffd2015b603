package train

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
)

// reasonMoved is that of the conditions while a job goes from one place to another.
const reasonMoved = "Moved"

// Defaults of a move, as api/v1alpha1 documents them.
const (
	checkpointPatience = 30 * time.Second
	placePatience      = time.Minute
)

// moveStale is how long after its workers were told to end a move still says where the
// next are to go: a job that its queue holds back for longer finds another cluster.
const moveStale = 5 * time.Minute

// moving does what spec.move asks: it lets the workers write a checkpoint, ends them,
// and sees that the next are placed on the nodes that were named, or else anywhere.
func moving(w *world, p *plan, cfg *Config) bool {
	m, s := w.job.Spec.Move, p.status.Move
	switch asked := m != nil && (s == nil || !s.Asked.Equal(&m.Asked)); {
	case asked && (s == nil || s.State != v1alpha1.MovePlacing):
		p.status.Move = &v1alpha1.MoveStatus{Asked: m.Asked, Nodes: slices.Clone(m.Nodes), Devices: slices.Clone(m.Devices)}
		if why := unmovable(w, m); why != "" {
			p.moves(w, v1alpha1.MoveRefused, "the job is left where it is: "+why)
			return false
		}
		p.moves(w, v1alpha1.MoveSaving, "the workers go on until their next checkpoint is written")
	case s == nil || s.State.Over():
		return false
	}
	if p.status.Move.State == v1alpha1.MoveSaving {
		return saving(w, p, cfg)
	}
	return placing(w, p)
}

// moves writes how far the move is.
func (p *plan) moves(w *world, state v1alpha1.MoveState, message string) {
	s := p.status.Move.DeepCopy()
	s.State, s.Message, s.Time = state, message, &metav1.Time{Time: w.now}
	p.status.Move = s
}

// unmovable says why the job cannot be moved so, "" if it can.
func unmovable(w *world, m *v1alpha1.Move) string {
	switch {
	case m.Restarts != w.attempt():
		return fmt.Sprintf("it has been started again since the move was asked for (status.restarts is %d, spec.move.restarts %d)", w.attempt(), m.Restarts)
	case w.job.Status.State != v1alpha1.StateRunning || w.current() == nil || finished(w.current()):
		return fmt.Sprintf("it does not run (status.state is %s)", w.job.Status.State)
	case len(m.Devices) > 0 && len(w.current().Spec.Template.Spec.ResourceClaims) == 0:
		return "spec.move.devices names devices, and its workers get theirs without claims: leave the field out"
	}
	return noPlace(w, m.Nodes)
}

// noPlace says which of the nodes takes no work, "" if all do.
func noPlace(w *world, nodes []string) string {
	for _, name := range nodes {
		i := slices.IndexFunc(w.nodes, func(n corev1.Node) bool { return n.Name == name })
		if i < 0 {
			return fmt.Sprintf("spec.move.nodes names %s, and there is no such node", name)
		}
		if !usable(&w.nodes[i]) {
			return fmt.Sprintf("node %s takes no work: it is not ready, or cordoned", name)
		}
	}
	return ""
}

// saving waits for the workers' next checkpoint and then ends them. Programs save with
// every epoch that they report.
func saving(w *world, p *plan, cfg *Config) bool {
	m, s := w.job.Spec.Move, p.status.Move
	if m == nil {
		p.moves(w, v1alpha1.MoveRefused, "spec.move was taken back before the workers were ended")
		return false
	}
	if why := unmovable(w, m); why != "" {
		p.moves(w, v1alpha1.MoveRefused, "the job is left where it is: "+why)
		return false
	}
	left := s.Time.Add(patience(m.CheckpointSeconds, checkpointPatience)).Sub(w.now)
	if now := p.status.Progress; left > 0 && (now == nil || now.Time == nil || !now.Time.After(s.Time.Time)) {
		p.look(min(left, cfg.Progress))
		return false
	}
	message := fmt.Sprintf("the job is moved to %s, and goes on there from its latest checkpoint", strings.Join(s.Nodes, ", "))
	p.moves(w, v1alpha1.MovePlacing, message)
	p.leave(w, message)
	p.status.Move.Restarts = p.status.Restarts
	return true
}

// leave ends the present attempt for the sake of a move. That uses up no retries.
func (p *plan) leave(w *world, message string) {
	p.status.Restarts, p.status.Moves = w.attempt()+1, p.status.Moves+1
	p.status.State, p.status.Ready, p.status.Message = v1alpha1.StateRestarting, 0, message
	p.set(w, v1alpha1.ConditionRunning, metav1.ConditionFalse, reasonMoved, message)
	p.set(w, ConditionRestarting, metav1.ConditionTrue, reasonMoved, message)
	p.look(time.Millisecond)
}

// placing watches that the workers get their places. When they do not, the attempt ends
// before it began and the next goes anywhere.
func placing(w *world, p *plan) bool {
	s := p.status.Move
	elsewhere := func(why string) {
		p.moves(w, v1alpha1.MoveElsewhere, "the job goes on wherever it fits: "+why)
	}
	if w.attempt() != s.Restarts {
		elsewhere("it was started again before all of its workers had their places")
		return false
	}
	j, pods := w.current(), w.workers()
	if j == nil {
		if why := noPlace(w, s.Nodes); why != "" {
			elsewhere(why)
		} else if w.now.Sub(s.Time.Time) > moveStale {
			elsewhere(fmt.Sprintf("its workers could not be started within %s, and the places may be others' now", moveStale))
		}
		return false
	}
	placed := int32(0)
	for i := range pods {
		if pods[i].Spec.NodeName != "" {
			placed++
		}
	}
	if placed >= workers(w.job) {
		p.moves(w, v1alpha1.MoveMoved, "its workers have their places on "+strings.Join(s.Nodes, ", "))
		return false
	}
	limit := placePatience
	if m := w.job.Spec.Move; m != nil && m.Asked.Equal(&s.Asked) {
		limit = patience(m.PlaceSeconds, placePatience)
	}
	if left := j.CreationTimestamp.Add(limit).Sub(w.now); left > 0 {
		p.look(left)
		return false
	}
	why := fmt.Sprintf("after %s there is no room on %s", limit, strings.Join(s.Nodes, ", "))
	if said := unplaced(pods); said != "" {
		why += " (scheduler: " + strings.TrimSuffix(said, ".") + ")"
	}
	elsewhere(clip(why, lastBytesMax))
	p.leave(w, p.status.Move.Message)
	return true
}

func patience(seconds *int64, otherwise time.Duration) time.Duration {
	if seconds == nil {
		return otherwise
	}
	return time.Duration(*seconds) * time.Second
}

// arriving reports whether an attempt is to start where the job is moved to.
func arriving(s *v1alpha1.MoveStatus, attempt int32) bool {
	return s != nil && s.State == v1alpha1.MovePlacing && s.Restarts == attempt
}

// destination keeps the workers of an attempt to the nodes that the job is moved to.
func destination(s *v1alpha1.MoveStatus, attempt int32) *corev1.Affinity {
	if !arriving(s, attempt) {
		return nil
	}
	required := &corev1.NodeSelector{}
	for _, n := range s.Nodes { // by name a term takes one node
		required.NodeSelectorTerms = append(required.NodeSelectorTerms, corev1.NodeSelectorTerm{
			MatchFields: []corev1.NodeSelectorRequirement{{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{n}}},
		})
	}
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: required}}
}
