package eval

import (
	"cmp"
	"hash/maphash"
	"math"
	"slices"
)

const (
	// nearFeaturesMin is from how many features on "all but one are the same" says
	// something.
	nearFeaturesMin = 4
	// nearWorkMax bounds the entries that are kept to find such rows.
	nearWorkMax = 2 << 20
	// contaminatedMax is how many rows are named.
	contaminatedMax = 100
)

// A Finder finds rows that are also in the training data, of which it is given one row
// after the other.
type Finder struct {
	features int
	seed     maphash.Seed
	exact    map[uint64]*alike // by hash of all features
	near     []nearEntry       // sorted by hash of all features but one
	rows     []int64
	labels   []string
	data     []float32
	hit      []bool // exact
	labelled []bool
	close    []bool
	sampled  bool
	trained  int64
}

// alike are judged rows with the same hash, and the labels of training rows that they
// were compared with already.
type alike struct {
	rows []int32
	seen map[string]bool
}

type nearEntry struct {
	hash uint64
	row  int32
	done bool // of the first with a hash: a training row was compared with all of them
}

// NewFinder keeps the judged rows: their numbers in the table, labels, and features,
// [rows × features].
func NewFinder(rows []int64, labels []string, data []float32, features int) *Finder {
	n := len(rows)
	f := &Finder{
		features: features, seed: maphash.MakeSeed(), exact: make(map[uint64]*alike, n), rows: rows, labels: labels, data: data,
		hit: make([]bool, n), labelled: make([]bool, n), close: make([]bool, n),
	}
	kept := n
	if features >= nearFeaturesMin {
		kept = min(n, nearWorkMax/features)
		f.near = make([]nearEntry, 0, kept*features)
	}
	f.sampled = kept < n
	for i := range n {
		h := f.hash(f.row(i))
		if f.exact[h] == nil {
			f.exact[h] = &alike{seen: map[string]bool{}}
		}
		f.exact[h].rows = append(f.exact[h].rows, int32(i))
		if features >= nearFeaturesMin && i < kept {
			for j, v := range f.row(i) {
				f.near = append(f.near, nearEntry{hash: h - f.one(j, v), row: int32(i)})
			}
		}
	}
	slices.SortFunc(f.near, func(a, b nearEntry) int { return cmp.Compare(a.hash, b.hash) })
	return f
}

func (f *Finder) row(i int) []float32 { return f.data[i*f.features : (i+1)*f.features] }

// hash of a row is the sum of those of its features, so that one can be left out.
func (f *Finder) hash(row []float32) uint64 {
	sum := uint64(0)
	for j, v := range row {
		sum += f.one(j, v)
	}
	return sum
}

// one is the hash of a feature. Zero has one sign.
func (f *Finder) one(j int, v float32) uint64 {
	if v == 0 {
		v = 0
	}
	return maphash.Comparable(f.seed, uint64(j)<<32|uint64(math.Float32bits(v)))
}

// Train looks for one row of the training data among the judged ones.
func (f *Finder) Train(row []float32, label string) {
	f.trained++
	if len(row) != f.features {
		return
	}
	h := f.hash(row)
	if a := f.exact[h]; a != nil && !a.seen[label] {
		a.seen[label] = true
		for _, i := range a.rows {
			if f.differ(f.row(int(i)), row) == 0 {
				f.hit[i] = true
				f.labelled[i] = f.labelled[i] || f.labels[i] == label
			}
		}
	}
	for j, v := range row {
		f.almost(row, h-f.one(j, v))
	}
}

// almost marks the judged rows that are row but for one feature, by the hash of the others.
func (f *Finder) almost(row []float32, hash uint64) {
	at, _ := slices.BinarySearchFunc(f.near, hash, func(e nearEntry, h uint64) int { return cmp.Compare(e.hash, h) })
	if at == len(f.near) || f.near[at].done {
		return
	}
	for i := at; i < len(f.near) && f.near[i].hash == hash; i++ {
		f.near[at].done = true
		if e := f.near[i]; f.differ(f.row(int(e.row)), row) <= 1 {
			f.close[e.row] = true
		}
	}
}

// differ counts features that are not the same.
func (f *Finder) differ(a, b []float32) int {
	n := 0
	for j := range a {
		if a[j] != b[j] {
			n++
		}
	}
	return n
}

// Found is what was found in all rows that were looked for, and a note for the report.
func (f *Finder) Found() (*Contamination, string) {
	out, note := &Contamination{TrainRows: f.trained}, ""
	for i := range f.rows {
		switch {
		case f.hit[i]:
			out.Exact++
			if f.labelled[i] {
				out.Labels++
			}
		case f.close[i]:
			out.Near++
		default:
			continue
		}
		if len(out.Rows) < contaminatedMax {
			out.Rows = append(out.Rows, f.rows[i])
		}
	}
	switch {
	case f.features < nearFeaturesMin:
		note = "Rows that are nearly in the training data are not looked for: with so few features it would say nothing."
	case f.sampled:
		note = "Rows that are nearly in the training data are looked for among the first ones only: there are too many for all."
	}
	return out, note
}
