package route

import "time"

// Pace bounds how often each client may ask: on average so many times a second, and so
// many at once. It is a bucket of tokens for each, told by one time: when the bucket will
// be full again. A client whose bucket is full is forgotten. It is not safe for use by
// several at once.
type Pace struct {
	every, burst time.Duration // between two requests; until the bucket is empty
	max          int
	full         map[string]time.Time
	swept        time.Time
}

// NewPace returns a Pace for at most clientsMax clients at a time whose buckets are not
// full; others are refused.
func NewPace(perSecond, burst int32, clientsMax int) *Pace {
	n := time.Duration(max(perSecond, 1))
	every := (time.Second + n - 1) / n // rounded up: a little too slow is within the limit
	return &Pace{every: every, burst: every * time.Duration(max(burst, 1)), max: clientsMax, full: map[string]time.Time{}}
}

// Take takes a token of client's at a time, and says how long to wait for one when there
// is none.
func (p *Pace) Take(client string, now time.Time) (wait time.Duration, ok bool) {
	full, known := p.full[client]
	if !known && len(p.full) >= p.max {
		p.forget(now)
		if len(p.full) >= p.max {
			return p.every, false
		}
	}
	if full.Before(now) {
		full = now
	}
	full = full.Add(p.every)
	if late := full.Sub(now) - p.burst; late > 0 {
		return late, false
	}
	p.full[client] = full
	return 0, true
}

// forget drops those that would be let in like new ones.
func (p *Pace) forget(now time.Time) {
	if now.Sub(p.swept) < time.Second {
		return
	}
	p.swept = now
	for c, full := range p.full {
		if !full.After(now) {
			delete(p.full, c)
		}
	}
}
