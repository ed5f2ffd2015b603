package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
)

// Limits on what one look writes. What is admitted or ended is written at once, by
// several at a time: a write takes the API server milliseconds, most of them waiting
// for a disk. Words come after it, and take a tenth of the time at most.
const (
	// writers is how many write at once.
	writers = 24
	// startFor is how long a look writes admissions. What is not written by then was not
	// decided: the next look decides it anew, with what has ended in the meantime.
	startFor = 2 * time.Second
	// asksMax is how many of those that wait are asked in one look whether the reason is
	// another one, and tellEvery how often one is told the same with other numbers.
	asksMax   = 1000
	tellEvery = 30 * time.Second
	// wordsMax is how many words, and numbers of queues, are written in one look, and
	// wordsFor how long, if there are admissions to go on with.
	wordsMax = 100
	wordsFor = 250 * time.Millisecond
	// reportEvery is how often the numbers of a queue are written.
	reportEvery = 3 * time.Second
)

// write puts down what was decided: first what must end, then what may start, then
// why others wait. again is when to look without a reason.
func (c *Controller) write(ctx context.Context, w *world, d *decision) (again time.Duration, err error) {
	if d.pending > 0 {
		again = lookEvery
	}
	if err := c.tell(ctx, d.ends, w.now, nil); err != nil {
		return 0, err // what could not be ended is not replaced
	}
	over := c.within(startFor)
	if err := c.tell(ctx, d.starts, w.now, over); err != nil {
		return 0, err
	}
	if over() {
		again = paceMin
	}
	busy := len(d.ends)+len(d.starts) > 0
	from := c.clock.Now()
	if left := c.quiet.Sub(from); busy && left > 0 {
		return paceMin, nil
	}
	over = nil
	if busy {
		over = c.within(wordsFor)
	}
	words, more := c.due(w, d)
	err = c.tell(ctx, words, w.now, over)
	left, e := c.report(ctx, w, d, over)
	c.quiet = c.clock.Now().Add(9 * c.clock.Since(from))
	if left {
		again = min(reportEvery, cmp.Or(again, reportEvery))
	}
	if more {
		again = paceMin
	}
	return again, errors.Join(err, e)
}

// within says for how long something may go on.
func (c *Controller) within(d time.Duration) (over func() bool) {
	from := c.clock.Now()
	return func() bool { return c.clock.Since(from) > d }
}

// tell writes down verdicts, in their order, until stop says so.
func (c *Controller) tell(ctx context.Context, verdicts []verdict, now time.Time, stop func() bool) error {
	var (
		mu   sync.Mutex
		errs []error
	)
	var g errgroup.Group
	g.SetLimit(writers)
	for _, v := range verdicts {
		if stop != nil && stop() {
			break
		}
		g.Go(func() error {
			err := v.item.tell(ctx, c.client, v.queue)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case client.IgnoreNotFound(err) != nil:
				errs = append(errs, fmt.Errorf("writing what queue %s decided of %s: %w", v.name(), v.item, err))
			case err == nil:
				c.assumed[v.item.uid], c.told[v.item.uid] = assumption{v.queue, now}, now
				c.turned(v, now)
				c.record(v)
			}
			return nil
		})
	}
	_ = g.Wait() // errs are all
	return errors.Join(errs...)
}

// record tells of a Job or pod in an event what was decided, if it is for another reason
// than before.
func (c *Controller) record(v verdict) {
	if v.item.object == nil || v.queue == nil || sameReason(v.queue, v.item.was) {
		return
	}
	kind := corev1.EventTypeNormal
	if v.queue.Reason == reasonPreempted || v.queue.Reason == reasonRefused {
		kind = corev1.EventTypeWarning
	}
	c.events.Eventf(v.item.object, nil, kind, v.queue.Reason, "Queue", "%s", v.queue.Message)
}

func (v *verdict) name() string {
	if v.queue == nil {
		return "(none)"
	}
	return v.queue.Name
}

// due are the words that are to be written now: of those that have
// not been told anything yet, and then in turn of those for which it is another reason,
// or the same one and long ago. more says that there are more.
func (c *Controller) due(w *world, d *decision) (words []verdict, more bool) {
	add := func(v verdict) {
		if more = more || len(words) == wordsMax; !more {
			words = append(words, v)
		}
	}
	old := func(v verdict) bool {
		return !sameReason(v.queue, v.item.was) || w.now.Sub(c.told[v.item.uid]) >= tellEvery
	}
	for _, v := range d.words {
		if old(v) {
			add(v)
		}
	}
	for _, i := range d.waiting {
		if i.was == nil || i.was.Name != i.queue || i.was.Reason == reasonPreempted {
			if add(verdict{i, nil}); more {
				break
			}
			words[len(words)-1].queue = d.why(i)
		}
	}
	first, _ := slices.BinarySearchFunc(d.waiting, c.turn, func(i *item, id string) int { return cmp.Compare(i.id, id) })
	for n := range min(len(d.waiting), asksMax) {
		if more {
			break
		}
		i := d.waiting[(first+n)%len(d.waiting)]
		c.turn = i.id + "\x00"
		if i.was == nil || i.was.Name != i.queue || i.was.Reason == reasonPreempted {
			continue // it has been told above
		}
		if v := (verdict{i, d.why(i)}); !apiequality.Semantic.DeepEqual(v.queue, i.was) && old(v) {
			add(v)
		}
	}
	return words, more
}

// sameReason reports whether two decisions differ in words alone.
func sameReason(a, b *v1alpha1.JobQueue) bool {
	return a != nil && b != nil && a.Name == b.Name && a.Reason == b.Reason
}

// pastEvery is how often the share that a queue had is written, if nothing else is.
const pastEvery = time.Minute

// report writes the status of queues that say something new, those first that were not
// written for longest, until over says so. left says that some are left.
func (c *Controller) report(ctx context.Context, w *world, d *decision, over func() bool) (left bool, err error) {
	var news []*v1alpha1.Queue
	for i := range w.queues {
		q := &w.queues[i]
		switch s := d.status[q.Name]; {
		case s == nil || !says(&q.Status, s):
		case w.now.Sub(c.reported[q.Name]) < reportEvery && len(s.Conditions) == len(q.Status.Conditions):
			left = true
		default:
			news = append(news, q)
		}
	}
	slices.SortStableFunc(news, func(a, b *v1alpha1.Queue) int { return c.reported[a.Name].Compare(c.reported[b.Name]) })
	if len(news) > wordsMax {
		news, left = news[:wordsMax], true
	}
	var g errgroup.Group
	g.SetLimit(writers)
	for _, q := range news {
		if over != nil && over() {
			left = true
			break
		}
		c.reported[q.Name] = w.now
		next := q.DeepCopy()
		next.Status = *d.status[q.Name]
		g.Go(func() error {
			if err := c.client.Status().Patch(ctx, next, client.MergeFrom(q)); client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("writing the status of queue %s: %w", q.Name, err)
			}
			return nil
		})
	}
	return left, g.Wait()
}

// says reports whether a status says something new. That a share of before is less by
// now is written seldom.
func says(before, after *v1alpha1.QueueStatus) bool {
	was, is := before.DeepCopy(), after.DeepCopy()
	old := was.PastTime == nil || is.PastTime == nil || is.PastTime.Sub(was.PastTime.Time) >= pastEvery
	if !old || was.Past == is.Past {
		was.Past, was.PastTime, is.Past, is.PastTime = "", nil, "", nil
	}
	return !apiequality.Semantic.DeepEqual(was, is)
}
