package route

// Drift watches whether something happens more often than was expected. It is a test that
// may be looked at after every event: sums of bets (Shiryaev and Roberts, over bets that
// are fair at most, mixed over a few stakes) that grow only while events come more often
// than the bound. On average at most one false alarm is raised in [Patience] events,
// whatever the true share below the bound.
//
// The zero value expects nothing, and raises no alarm.
type Drift struct {
	bound float64
	sums  [len(stakes)]float64
	alarm bool

	recent []bool // ring of the latest events
	next   int
	yes    int
}

// Patience is how many events there are on average before a false alarm, at least.
const Patience = 1_000_000

// Window is how many of the latest events the recent share is told of.
const Window = 1000

// stakes as shares of the largest stake that cannot lose more than everything.
var stakes = [...]float64{0.01, 0.03, 0.1, 0.25, 0.5}

// NewDrift returns a test of events that are expected in a share of at most bound.
func NewDrift(bound float64) *Drift { return &Drift{bound: min(max(bound, 1e-4), 1)} }

// Add tells of one event, or that it did not happen.
func (d *Drift) Add(happened bool) {
	d.remember(happened)
	if d.bound <= 0 || d.bound >= 1 {
		return
	}
	x := -d.bound
	if happened {
		x = 1 - d.bound
	}
	var mean float64
	for i, s := range stakes {
		d.sums[i] = (d.sums[i] + 1) * (1 + s/d.bound*x)
		mean += d.sums[i] / float64(len(stakes))
	}
	switch share, _ := d.Recent(); {
	case mean >= Patience:
		d.alarm, d.sums = true, [len(stakes)]float64{}
	case d.alarm && len(d.recent) == Window && share <= d.bound:
		d.alarm = false
	}
}

func (d *Drift) remember(happened bool) {
	if len(d.recent) < Window {
		d.recent = append(d.recent, happened)
	} else {
		if d.recent[d.next] {
			d.yes--
		}
		d.recent[d.next] = happened
		d.next = (d.next + 1) % Window
	}
	if happened {
		d.yes++
	}
}

// Alarm: events have come more often than expected, and the latest still do.
func (d *Drift) Alarm() bool { return d.alarm }

// Recent share of events, among how many of the latest.
func (d *Drift) Recent() (share float64, of int) {
	if len(d.recent) == 0 {
		return 0, 0
	}
	return float64(d.yes) / float64(len(d.recent)), len(d.recent)
}

// Bound that events are expected to stay below.
func (d *Drift) Bound() float64 { return d.bound }
