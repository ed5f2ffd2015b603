package scale

import (
	"math"
	"time"

	"polder.dev/polder/gateway"
)

const (
	// window is how long requests weigh.
	window = time.Minute
	// burst is how long they weigh when there are suddenly more of them.
	burst = 6 * time.Second
	// panicAt is how many times what is there must be needed for a burst.
	panicAt = 2
	// tick is how often it is looked.
	tick = time.Second
)

// history is what is remembered of a revision between looks.
type history struct {
	samples  []sample // the oldest first
	panicked time.Time
	most     int32 // of the replicas wanted in the burst
}

type sample struct {
	time time.Time
	area float64
}

// add remembers a look, and forgets what is older than the window needs.
func (h *history) add(now time.Time, area float64) {
	h.samples = append(h.samples, sample{now, area})
	for len(h.samples) > 2 && now.Sub(h.samples[1].time) >= window {
		h.samples = h.samples[1:]
	}
}

// mean is how many requests there were at a time during the latest span, and for how much
// of the span that is known.
func (h *history) mean(now time.Time, span time.Duration) (requests float64, known time.Duration) {
	last := h.samples[len(h.samples)-1]
	first := last
	for i := len(h.samples) - 1; i >= 0; i-- {
		first = h.samples[i]
		if now.Sub(first.time) >= span {
			break
		}
	}
	known = last.time.Sub(first.time)
	if known <= 0 {
		return 0, 0
	}
	return (last.area - first.area) / known.Seconds(), known
}

// Want is how many replicas a revision is to have now. It remembers l in h.
func (h *history) Want(now time.Time, l *gateway.Load) int32 {
	h.add(now, l.Area)
	if l.Leaving {
		return 0
	}
	least, most := int32(1), max(l.Scale.Max, 1)
	if l.Scale.Min != nil {
		least = *l.Scale.Min
	}
	most = max(most, least)
	idle := time.Duration(l.Scale.IdleSeconds) * time.Second
	latest := l.Used
	if latest.Before(l.Since) {
		latest = l.Since
	}
	asleep := least == 0 && l.Requests == 0 && now.Sub(latest) >= idle
	if asleep {
		h.panicked, h.most = time.Time{}, 0
		return 0
	}
	if l.Replicas == 0 && l.Requests == 0 { // it sleeps, and nobody asks
		return least
	}
	long, known := h.mean(now, window)
	short, _ := h.mean(now, burst)
	need, soon := h.replicas(long, l), h.replicas(short, l)
	if soon >= panicAt*max(l.Replicas, 1) {
		h.panicked = now
	}
	switch {
	case !h.panicked.IsZero() && now.Sub(h.panicked) < window:
		h.most = max(h.most, soon, l.Replicas)
		need = h.most
	case known < window-tick: // what is there is not taken away by what is not known
		h.most = 0
		need = max(need, soon, l.Replicas)
	default:
		h.most = 0
	}
	return min(max(need, least, 1), most)
}

// replicas that so many requests at a time need.
func (h *history) replicas(requests float64, l *gateway.Load) int32 {
	n := math.Ceil(requests/float64(max(l.Scale.Concurrency, 1)) - 1e-6)
	return int32(min(n, 1e6))
}
