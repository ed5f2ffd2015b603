package drivetest

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Cut cuts the power and returns the disk as it is found afterwards. Of what was not
// synced, each sector and each name is kept or lost at random; how much is kept is at
// random as well, all and nothing included. The old disk goes on for those who still
// hold it, but nothing they do counts. With kill only the program has died: all is kept.
func (d *Disk) Cut(rng *rand.Rand, kill bool) *Disk {
	defer d.enter()()
	d.dead = true
	odds := []float64{0, 0.1, 0.5, 0.9, 1}[rng.IntN(5)]
	if kill {
		odds = 1
	}
	lucky := func() bool { return rng.Float64() < odds || odds == 1 }
	out := &Disk{BytesMax: d.BytesMax}
	defer out.enter()()
	for dir := range d.dirs {
		out.dirs[dir] = true
	}
	kept := map[string]*node{}
	for name, n := range d.kept {
		kept[name] = n
	}
	for _, dir := range slices.Sorted(maps.Keys(d.todo)) {
		changes := d.todo[dir]
		for i := 0; i < len(changes); i++ {
			c := changes[i]
			rename := c.node == nil && i+1 < len(changes) && changes[i+1].node != nil && d.moved(c.name, changes[i+1].node)
			if !lucky() {
				if rename {
					i++
				}
				continue
			}
			apply(kept, c)
			if rename {
				i++
				apply(kept, changes[i])
			}
		}
	}
	copies := map[*node]*node{}
	for _, name := range slices.Sorted(maps.Keys(kept)) {
		n := kept[name]
		if copies[n] == nil {
			copies[n] = n.cut(lucky)
			out.bytes += int64(len(copies[n].data))
		}
		out.files[name], out.kept[name] = copies[n], copies[n]
	}
	return out
}

// moved reports whether n had the name that was removed, so that the pair is a rename.
func (d *Disk) moved(name string, n *node) bool {
	if d.kept[name] == n {
		return true
	}
	for _, changes := range d.todo {
		if slices.ContainsFunc(changes, func(c change) bool { return c.name == name && c.node == n }) {
			return true
		}
	}
	return false
}

func apply(names map[string]*node, c change) {
	if c.node == nil {
		delete(names, c.name)
	} else {
		names[c.name] = c.node
	}
}

// cut is a file after the power came back.
func (n *node) cut(lucky func() bool) *node {
	size := len(n.durable)
	if len(n.data) != size && lucky() {
		size = len(n.data)
	}
	data := resize(slices.Clone(n.durable), size)
	sectors := make([]int64, 0, len(n.dirty))
	for s := range n.dirty {
		sectors = append(sectors, s)
	}
	slices.Sort(sectors) // so that the same seed does the same
	for _, s := range sectors {
		at := int(s * sector)
		if at >= len(n.data) || !lucky() {
			continue
		}
		end := min(at+sector, len(n.data))
		if end > len(data) {
			data = resize(data, end)
		}
		copy(data[at:end], n.data[at:end])
	}
	return &node{data: data, durable: slices.Clone(data), dirty: map[int64]bool{}}
}
