package sched

import (
	"fmt"
	"slices"
)

// may refuses what would give a device or a node less than nothing, or more than it
// has.
func may(n *Node, r *Request, devices []int, sign int) error {
	if len(devices) != r.Count {
		return fmt.Errorf("%d devices are named for a request of %d", len(devices), r.Count)
	}
	left := Amount{n.Free.CPU - int64(sign)*r.CPU, n.Free.Memory - int64(sign)*r.Memory, n.Free.Pods - int64(sign)}
	if left.CPU < 0 || left.Memory < 0 || left.Pods < 0 || left.CPU > n.Size.CPU || left.Memory > n.Size.Memory || left.Pods > n.Size.Pods {
		return fmt.Errorf("its CPU, memory or pods would be %+v of %+v", left, n.Size)
	}
	for k, i := range devices {
		if i < 0 || i >= len(n.Devices) || slices.Contains(devices[:k], i) {
			return fmt.Errorf("device %d is not there, or named twice", i)
		}
		d := &n.Devices[i]
		if free := d.Free - sign*r.Share; free < 0 || free > Whole {
			return fmt.Errorf("device %d would have %d thousandths free", i, free)
		}
		for _, need := range r.Needs {
			j := slices.IndexFunc(d.Counters, func(c Counter) bool { return c.Name == need.Name })
			if j < 0 {
				return fmt.Errorf("device %d has no counter %q", i, need.Name)
			}
			if free := d.Counters[j].Free - int64(sign)*need.Amount; free < 0 || free > d.Counters[j].Size {
				return fmt.Errorf("device %d would have %d of %s free", i, free, need.Name)
			}
		}
	}
	return nil
}

// take gives the request what it wants of the node, or with -1 gives it back.
func take(n *Node, r *Request, devices []int, sign int) {
	n.Free.CPU -= int64(sign) * r.CPU
	n.Free.Memory -= int64(sign) * r.Memory
	n.Free.Pods -= int64(sign)
	if c := r.class(); c >= 0 {
		n.Classes[c] += sign
	}
	for _, i := range devices {
		d := &n.Devices[i]
		d.Free -= sign * r.Share
		for _, need := range r.Needs {
			for j := range d.Counters {
				if d.Counters[j].Name == need.Name {
					d.Counters[j].Free -= int64(sign) * need.Amount
				}
			}
		}
	}
}

// firstDevices are the first that have room.
func firstDevices(n *Node, r *Request) []int {
	out := make([]int, 0, r.Count)
	for i := 0; i < len(n.Devices) && len(out) < r.Count; i++ {
		if r.usable(&n.Devices[i]) {
			out = append(out, i)
		}
	}
	return out
}
