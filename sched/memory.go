package sched

// memory keeps, for each shape of request, the scores of all nodes and the version of
// the node that each is of.
type memory struct {
	shapes map[string]*remembered
	key    []byte
	clock  uint64 // counts decisions
}

type remembered struct {
	version []uint32
	score   []int32
	used    uint64
}

// rememberedMax bounds the scores that are kept, of 8 bytes each, to 128 MiB.
const rememberedMax = 16 << 20

// scores brings those of all nodes for r up to date.
func (b *Board) scores(r *Request) []int32 {
	m := b.memory.of(r, len(b.nodes))
	for i, v := range b.version {
		if m.version[i] == v {
			continue
		}
		m.version[i] = v
		m.score[i] = none
		if fits(&b.nodes[i], r) {
			m.score[i] = b.score(i, r)
		}
	}
	return m.score
}

func (m *memory) of(r *Request, nodes int) *remembered {
	m.clock++
	m.key = r.shape(m.key[:0])
	s := m.shapes[string(m.key)]
	if s == nil {
		if m.shapes == nil {
			m.shapes = map[string]*remembered{}
		}
		if len(m.shapes) > 0 && (len(m.shapes)+1)*nodes > rememberedMax {
			m.forget()
		}
		s = &remembered{version: make([]uint32, nodes), score: make([]int32, nodes)}
		m.shapes[string(m.key)] = s
	}
	s.used = m.clock
	return s
}

// forget drops the shape that was asked for longest ago.
func (m *memory) forget() {
	oldest, at := "", m.clock
	for key, s := range m.shapes {
		if s.used < at {
			oldest, at = key, s.used
		}
	}
	delete(m.shapes, oldest)
}
