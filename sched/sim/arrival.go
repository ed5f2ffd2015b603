package sim

import (
	"context"

	"polder.dev/polder/sched/trace"
)

// pause is how many pods are played before a run asks whether it shall go on.
const pause = 256

// arrivals plays pods of which none leaves.
func (r *Result) arrivals(ctx context.Context, m *meter, pods []trace.Pod) error {
	none := unmet{}
	for i := range pods {
		if i%pause == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		d, err := m.place(&pods[i])
		if err != nil {
			return err
		}
		if d == nil {
			r.Refused++
			none.add(pods[i].Request)
		}
		m.arrived(pods[i].Request.Milli())
	}
	r.Why = none.tell(m.board)
	return nil
}
