package gang

import (
	"cmp"
	"fmt"
	"slices"

	"polder.dev/polder/sched"
)

// Host is the level of the topology at which each node is a domain of its own.
const Host = "host"

// Gang is requests that are placed together.
type Gang struct {
	// Requests of its members; those without a domain of their own may differ.
	Requests []sched.Request
	// Required is a level of the topology of which all must be in one domain; "" if they
	// may be anywhere.
	Required string
	// Preferred are levels to try before that, the tightest first.
	Preferred []string
	// Sorts tell members apart that may be on other nodes than the rest, one for each; nil
	// if all may be on the same. May says which nodes those of a sort may be on; nil lets
	// them be on all.
	Sorts []string
	May   func(sort, node string) bool
	// Not are domains that it is not placed in: it was found not to fit there.
	Not []sched.Label
}

// MembersMax is the most requests of a gang.
const MembersMax = 10000

// triedMax is how many domains of a level are tried in full: those that the gang would
// leave least of. Trying all costs a placement each.
const triedMax = 4

// Check says what is wrong with a gang, naming the field.
func (g *Gang) Check() error {
	if len(g.Requests) == 0 || len(g.Requests) > MembersMax {
		return fmt.Errorf("a gang of %d members: want 1 to %d", len(g.Requests), MembersMax)
	}
	if g.Sorts != nil && len(g.Sorts) != len(g.Requests) {
		return fmt.Errorf("a gang of %d members with %d sorts: want one for each", len(g.Requests), len(g.Sorts))
	}
	for i := range g.Requests {
		if err := g.Requests[i].Check(); err != nil {
			return fmt.Errorf("member %d: %w", i, err)
		}
	}
	return nil
}

// Placement is where the members go, in the order of the gang's requests.
type Placement struct {
	Decisions []sched.Decision
	// Domain that all are in; the zero Label for the whole cluster.
	Domain sched.Label
}

// Place places the gang on the board, whole. If that cannot be it returns why, and the
// board is as it was.
func Place(b *sched.Board, g Gang) (*Placement, *Shortage, error) {
	if err := g.Check(); err != nil {
		return nil, nil, err
	}
	p := &placer{board: b, gang: &g, kinds: kindsOf(&g)}
	p.bar()
	var short *Shortage
	for _, level := range g.levels() {
		domains := p.domains(level)
		for _, d := range domains[:min(len(domains), triedMax)] {
			if d.short > 0 {
				break // and all behind it
			}
			p.try(d)
		}
		if p.best != nil {
			return p.take()
		}
		if p.err != nil {
			return nil, nil, p.err
		}
		short = p.shortage(level, domains)
	}
	return nil, short, nil
}

// Domain is a part of the cluster that a gang may be placed in.
type Domain struct {
	sched.Label
	// Short is how many members certainly find no room there. Members are counted sort by
	// sort, so that 0 promises nothing.
	Short int
}

// Domains are those of a level, the best first, as Place tries them: who has room for all,
// and of these who is left with least. The gang's own levels are not looked at.
func Domains(b *sched.Board, g Gang, level string) []Domain {
	p := &placer{board: b, gang: &g, kinds: kindsOf(&g)}
	p.bar()
	var out []Domain
	for _, d := range p.domains(level) {
		out = append(out, Domain{Label: d.label, Short: d.short})
	}
	return out
}

// levels are those to be tried, in order; the last is what must be.
func (g *Gang) levels() []string {
	out := slices.DeleteFunc(slices.Clone(g.Preferred), func(l string) bool { return l == "" || l == g.Required })
	return append(out, g.Required)
}

// kind is members that want the same, and may have it on the same nodes.
type kind struct {
	request sched.Request
	sort    string
	members []int
	barred  bool // from some node
}

// kindsOf sorts members by what they want: what is hardest to place comes first.
func kindsOf(g *Gang) []kind {
	var out []kind
	at := map[[2]string]int{}
	for i := range g.Requests {
		key := [2]string{g.Requests[i].Shape()}
		if g.Sorts != nil {
			key[1] = g.Sorts[i]
		}
		k, known := at[key]
		if !known {
			k = len(out)
			at[key] = k
			out = append(out, kind{request: g.Requests[i], sort: key[1]})
		}
		out[k].members = append(out[k].members, i)
	}
	slices.SortStableFunc(out, kind.size)
	return out
}

// size compares two kinds, the larger first: by devices, then by CPU, then by memory.
func (k kind) size(o kind) int {
	return cmp.Or(cmp.Compare(o.request.Milli(), k.request.Milli()), cmp.Compare(o.request.CPU, k.request.CPU), cmp.Compare(o.request.Memory, k.request.Memory))
}
