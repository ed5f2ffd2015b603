package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
)

const (
	// answerLimit is how long the cloud may take to answer a move that was asked for.
	answerLimit = 30 * time.Second
	// replansMax bounds how often a run plans anew.
	replansMax = 10
)

// applied is what a run of --apply did.
type applied struct {
	Planned *proposal `json:"planned"`
	Done    []result  `json:"done"`
	// Left is how it is afterwards.
	Left *proposal `json:"left,omitempty"`
	// Stopped says why not all was done.
	Stopped string `json:"stopped,omitempty"`
}

// result is what became of one move.
type result struct {
	Job   string             `json:"job"`
	From  []string           `json:"from"`
	To    []string           `json:"to"`
	State v1alpha1.MoveState `json:"state"`
	Says  string             `json:"says,omitempty"`
}

func (d *defragger) applyAndShow(ctx context.Context, w io.Writer, format string) error {
	if format == "" {
		d.show = func(p *proposal) error { return p.show(w, "") }
	}
	a, err := d.apply(ctx)
	if a == nil {
		return err
	}
	if err != nil {
		a.Stopped = err.Error()
	}
	switch format {
	case "json":
		return errors.Join(printJSON(w, a), err)
	case "yaml":
		return errors.Join(printYAML(w, a), err)
	}
	moved := 0
	for _, r := range a.Done {
		if r.State == v1alpha1.MoveMoved {
			moved++
		}
	}
	if a.Left != nil && len(a.Planned.Moves) > 0 {
		fmt.Fprintf(w, "%s made; idle devices of no use: %s, %s before.\n", many(moved, "move"), devices(a.Left.Before.Useless), devices(a.Planned.Before.Useless))
	}
	return err
}

// apply makes the moves one at a time. Before each it looks whether the move is still
// what it was, and plans anew if not.
func (d *defragger) apply(ctx context.Context) (*applied, error) {
	if err := d.finishEarlier(ctx); err != nil {
		return nil, err
	}
	p, err := d.propose(ctx)
	if err != nil {
		return nil, err
	}
	a := &applied{Planned: p, Done: []result{}}
	if d.show != nil {
		if err := d.show(p); err != nil {
			return nil, err
		}
	} else {
		d.intend(p)
	}
	for replans, left := 0, p.Moves; len(left) > 0 && len(d.fixed) < d.flags.movesMax; {
		m := left[0]
		c, err := d.look(ctx)
		if err != nil {
			return a, err
		}
		why := m.still(c)
		if why == "" {
			r, err := d.move(ctx, &m, c.Jobs[m.Job])
			a.Done = append(a.Done, r)
			if err != nil {
				return a, err
			}
			d.fixed[m.Job] = "it was moved already"
			left = left[1:]
			if r.State == v1alpha1.MoveMoved {
				continue
			}
			why = r.Says
			d.fixed[m.Job] = why
			if len(d.fixed) >= d.flags.movesMax {
				d.tell.say("Job %s is not moved: %s.", m.Job, strings.TrimSuffix(why, "."))
				break
			}
			if c, err = d.look(ctx); err != nil {
				return a, err
			}
		}
		if replans++; replans > replansMax {
			return a, fmt.Errorf("the cloud changed %d times while moves were made: try again when it is calmer", replansMax)
		}
		d.tell.say("Job %s is not moved now: %s. Planning anew.", m.Job, strings.TrimSuffix(why, "."))
		next, err := d.proposeFor(c, d.flags.movesMax-len(d.fixed))
		if err != nil {
			return a, err
		}
		left = next.Moves
		d.intend(next)
	}
	a.Left, err = d.propose(ctx)
	return a, err
}

// intend tells what is going to be done.
func (d *defragger) intend(p *proposal) {
	if len(p.Moves) == 0 {
		d.tell.say("No move would gain enough; nothing is moved.")
		return
	}
	d.tell.say("%s planned; idle devices of no use: %s, and %s afterwards.", many(len(p.Moves), "move"), devices(p.Before.Useless), devices(p.After.Useless))
}

// finishEarlier waits for moves that an earlier run, or somebody else, has begun.
func (d *defragger) finishEarlier(ctx context.Context) error {
	c, err := d.look(ctx)
	if err != nil {
		return err
	}
	for _, j := range c.Moving {
		asked := j.Spec.Move
		if s := j.Status.Move; asked == nil || s != nil && !s.State.Over() && !s.Asked.Equal(&asked.Asked) {
			asked = &v1alpha1.Move{Asked: s.Asked, Nodes: s.Nodes}
		}
		name := j.Namespace + "/" + j.Name
		d.tell.say("Job %s is being moved already, to %s; waiting for that.", name, strings.Join(asked.Nodes, ", "))
		r, err := d.await(ctx, j, asked, false)
		if err != nil && !r.State.Over() {
			return err
		}
		d.tell.say("Job %s: %s.", name, strings.TrimSuffix(r.Says, "."))
	}
	return nil
}

// move makes one move, and returns when the job runs again or will not.
func (d *defragger) move(ctx context.Context, m *jobMove, j *v1alpha1.TrainJob) (result, error) {
	r := result{Job: m.Job, From: m.From, To: m.To}
	asked := &v1alpha1.Move{
		Asked: metav1.NewTime(d.now().Truncate(time.Second)), Restarts: m.restarts, Nodes: m.nodes, Devices: m.Named,
		CheckpointSeconds: ptr.To(int64(d.flags.save.Seconds())),
	}
	d.tell.say("Moving job %s from %s to %s ...", m.Job, strings.Join(m.From, ", "), m.where())
	if err := d.cloud.Ask(ctx, j, asked); err != nil {
		return r, err
	}
	got, err := d.await(ctx, j, asked, true)
	r.State, r.Says = got.State, got.Says
	if err == nil && r.State == v1alpha1.MoveMoved {
		d.tell.say("Job %s runs on %s%s.", m.Job, m.where(), got.from)
	}
	return r, err
}

// awaited is how a move ended.
type awaited struct {
	State v1alpha1.MoveState
	Says  string
	from  string // the checkpoint, where that is told
}

// await follows a move until its job runs again or will not. One that is ours is taken
// back if that does not come about and it has not begun.
func (d *defragger) await(ctx context.Context, j *v1alpha1.TrainJob, asked *v1alpha1.Move, ours bool) (awaited, error) {
	began, name := d.now(), j.Namespace+"/"+j.Name
	leave := func() string {
		if ours {
			return d.takeBack(ctx, j, asked)
		}
		return ""
	}
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	for {
		now, err := d.cloud.Job(ctx, j.Namespace, j.Name)
		if err != nil && ctx.Err() == nil {
			return awaited{}, err
		}
		if err == nil {
			got, over, err := stands(now, asked, name)
			if over || err != nil {
				return got, err
			}
			d.tell.now(fmt.Sprintf("%s  %s  %.0f s", name, got.Says, d.now().Sub(began).Seconds()))
			j = now
		}
		answered := j.Status.Move != nil && j.Status.Move.Asked.Equal(&asked.Asked)
		switch took := d.now().Sub(began); {
		case !answered && took > answerLimit:
			return awaited{}, fmt.Errorf("the cloud has not answered within %s that job %s is to be moved%s: `polder status` shows whether its controllers run", answerLimit, name, leave())
		case took > d.flags.timeout:
			return awaited{}, fmt.Errorf("job %s did not run again within %s (--timeout)%s: `polder why %s -n %s` says what it waits for", name, d.flags.timeout, leave(), j.Name, j.Namespace)
		}
		select {
		case <-ctx.Done():
			return awaited{}, fmt.Errorf("interrupted while job %s was being moved%s", name, leave())
		case <-tick.C:
		}
	}
}

// takeBack asks that a job which has not been stopped yet be left where it is, and says
// what becomes of it.
func (d *defragger) takeBack(ctx context.Context, j *v1alpha1.TrainJob, asked *v1alpha1.Move) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	const alone = "; the cloud completes the move alone"
	now, err := d.cloud.Job(ctx, j.Namespace, j.Name)
	if err != nil || now == nil {
		return alone
	}
	s := now.Status.Move
	begun := s != nil && s.Asked.Equal(&asked.Asked) && s.State != v1alpha1.MoveSaving
	if begun || now.Spec.Move == nil || !now.Spec.Move.Asked.Equal(&asked.Asked) || d.cloud.Ask(ctx, now, nil) != nil {
		return alone
	}
	return "; it was not stopped yet, and the move is taken back"
}

// stands says how far a move is; over when there is nothing more to wait for.
func stands(j *v1alpha1.TrainJob, asked *v1alpha1.Move, name string) (got awaited, over bool, err error) {
	refused := func(says string) (awaited, bool, error) {
		return awaited{State: v1alpha1.MoveRefused, Says: says}, true, nil
	}
	if j == nil {
		return refused("it is gone")
	}
	if j.Status.State.Done() {
		return refused(fmt.Sprintf("it has ended (%s)", j.Status.State))
	}
	s := j.Status.Move
	if s == nil || !s.Asked.Equal(&asked.Asked) {
		if m := j.Spec.Move; m == nil || !m.Asked.Equal(&asked.Asked) {
			return refused("somebody else asked for another move of it")
		}
		return awaited{Says: "asked"}, false, nil
	}
	got = awaited{State: s.State, Says: s.Message}
	switch s.State {
	case v1alpha1.MoveRefused:
		return got, true, nil
	case v1alpha1.MoveElsewhere:
		return got, true, fmt.Errorf("job %s did not get its place: %s; stopped here, since the cloud is not what was planned for", name, strings.TrimSuffix(s.Message, "."))
	case v1alpha1.MoveMoved:
		if j.Status.Restarts > s.Restarts {
			return got, true, fmt.Errorf("job %s was moved, and then a worker of it died: %s", name, firstLine(j.Status.Message))
		}
		if j.Status.State != v1alpha1.StateRunning || j.Status.Ready < max(1, j.Spec.Workers) {
			got.Says = "starts: " + firstLine(j.Status.Message)
			return got, false, nil
		}
		if p := j.Status.Progress; p != nil && p.Epoch > 0 {
			got.from = fmt.Sprintf(", after epoch %d", p.Epoch)
		}
		return got, true, nil
	}
	return got, false, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

var _ cloudView = kubeCloud{}
