package sched

import (
	"fmt"
	"slices"
)

// may refuses what would give a device or a node less than nothing, or more than it
// has.
func may(n *Node, r *Request, picks []pick, sign int) error {
	if len(picks) != r.Count {
		return fmt.Errorf("%d devices are named for a request of %d", len(picks), r.Count)
	}
	left := Amount{n.Free.CPU - int64(sign)*r.CPU, n.Free.Memory - int64(sign)*r.Memory, n.Free.Pods - int64(sign)}
	if left.CPU < 0 || left.Memory < 0 || left.Pods < 0 || left.CPU > n.Size.CPU || left.Memory > n.Size.Memory || left.Pods > n.Size.Pods {
		return fmt.Errorf("its CPU, memory or pods would be %+v of %+v", left, n.Size)
	}
	for k, p := range picks {
		if p.device < 0 || p.device >= len(n.Devices) || slices.Contains(picks[:k], p) {
			return fmt.Errorf("device %d is not there, or named twice", p.device)
		}
		d := &n.Devices[p.device]
		if at := d.in(r.Together); r.Together != "" && (at == "" || at != n.Devices[picks[0].device].in(r.Together)) {
			return fmt.Errorf("device %d is not in one %s with the others", p.device, r.Together)
		}
		if err := d.may(r, p, picks[:k], sign); err != nil {
			return fmt.Errorf("device %d %w", p.device, err)
		}
	}
	return nil
}

// may is what keeps a request from a device or a part of it, behind others that it gets.
func (d *Device) may(r *Request, p pick, others []pick, sign int) error {
	if d.Cut == nil {
		if free := d.Free - sign*r.Share; p.part != uncut || free < 0 || free > Whole {
			return fmt.Errorf("would have %d thousandths free", free)
		}
		return nil
	}
	if p.part < 0 || p.part >= len(d.Cut.Parts) || d.Gone[p.part] != (sign < 0) {
		return fmt.Errorf("has no part %d to be taken or given back", p.part)
	}
	left := slices.Clone(d.Left)
	for _, o := range append(others[:len(others):len(others)], p) {
		if o.device != p.device {
			continue
		}
		for c, takes := range d.Cut.Parts[o.part].Takes {
			if left[c] -= int64(sign) * takes; left[c] < 0 || left[c] > d.Cut.Counters[c].Size {
				return fmt.Errorf("would have %d of %s left", left[c], d.Cut.Counters[c].Name)
			}
		}
	}
	return nil
}

// take gives the request what it wants of the node, or with -1 gives it back.
func take(n *Node, r *Request, picks []pick, sign int) {
	n.Free.CPU -= int64(sign) * r.CPU
	n.Free.Memory -= int64(sign) * r.Memory
	n.Free.Pods -= int64(sign)
	if c := r.class(); c >= 0 {
		n.Classes[c] += sign
	}
	for _, p := range picks {
		if d := &n.Devices[p.device]; p.part == uncut {
			d.Free -= sign * r.Share
		} else {
			d.cut(p.part, sign)
		}
	}
}

// firstDevices are the first that have room.
func firstDevices(n *Node, r *Request) []pick {
	out := make([]pick, 0, r.Count)
	for i := 0; i < len(n.Devices) && len(out) < r.Count; i++ {
		if r.usable(&n.Devices[i]) {
			out = append(out, pick{i, uncut})
		}
	}
	return out
}
