package route

import "time"

// Purse is what one tenant has spent of its budget on one day, in billionths of the unit.
// What a request may cost at most is reserved before it is sent, and settled when it is
// known what it did cost; so the budget is never passed, whatever is under way.
//
// Kept is what has been promised to outlive the process: a record of it must be durable
// before more than that is spent. It goes ahead of Spent in steps, so that few records are
// written, and what is lost by a crash is at most a step, in the budget's favour.
type Purse struct {
	Day      string `json:"day"` // of UTC: 2006-01-02
	Spent    int64  `json:"spent"`
	Kept     int64  `json:"kept"`
	reserved int64
}

// Day of a time, as budgets count.
func Day(now time.Time) string { return now.UTC().Format(time.DateOnly) }

// Midnight is when the budget of the day begins anew.
func Midnight(now time.Time) time.Time {
	y, m, d := now.UTC().Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)
}

// steps that a budget is recorded in.
const steps = 100

// Reserve asks for what a request may cost at most. When keep is true, Kept has grown and
// must be made durable before the request is sent; Release takes the reservation back if
// that fails.
func (p *Purse) Reserve(cost, budget int64, now time.Time) (keep, ok bool) {
	if day := Day(now); p.Day != day {
		if p.Day > day {
			return false, false // a clock that was put back opens no purse twice
		}
		*p = Purse{Day: day, reserved: p.reserved}
	}
	if budget-p.Spent-p.reserved < cost {
		return false, false
	}
	p.reserved += cost
	if need := p.Spent + p.reserved; need > p.Kept {
		p.Kept = min(budget, need+budget/steps)
		return true, true
	}
	return false, true
}

// Settle turns a reservation into what was spent of it.
func (p *Purse) Settle(reserved, spent int64) {
	p.reserved -= reserved
	p.Spent += min(spent, reserved)
}

// Release takes a reservation back; nothing was spent.
func (p *Purse) Release(reserved int64) { p.Settle(reserved, 0) }

// Restore returns the purse that goes on after a restart: all that was kept counts as
// spent, since nobody knows how much of it was.
func Restore(p Purse) Purse {
	return Purse{Day: p.Day, Spent: max(p.Kept, p.Spent), Kept: max(p.Kept, p.Spent)}
}

// Settled is the purse as it is to be kept by a process that ends in order: nothing more
// is promised than was spent or reserved. It goes on being good for more.
func (p *Purse) Settled() Purse {
	out := *p
	out.Kept = p.Spent + p.reserved
	return out
}
