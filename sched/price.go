package sched

import "math"

// scarce is the policy polder: the gradient, less a price for devices that others will
// want who can go nowhere else.
type scarce struct {
	gradient
	price []float64 // by sort of node
}

func newScarce(b *Board) chooser {
	return &scarce{gradient{b: b, steepness: coarse, exact: true}, make([]float64, len(b.sorts))}
}

// priceMax is what one reach's reserve can cost, in points of the gradient's score. It
// is about what the gradient loses by breaking into an idle node: a reserve that is
// sure to be used up is worth opening another node for, and no more. From 5 to 20, and
// with the first to the third power of the reserve, the results on the published
// traces differ by less than 0.4 % of a cluster.
const priceMax = 10

// reprice sets what each sort of node costs now. For each set of nodes that some
// expected requests cannot leave, the part of what is free there that these will still
// want is the reserve; the price rises with its square. So nothing is charged for
// plenty, the price bites when others come close to what is reserved, and it fades as
// those it was kept for arrive: in a full cluster the gradient alone decides.
func (p *scarce) reprice() {
	clear(p.price)
	for i := range p.b.reach.stocks {
		s := &p.b.reach.stocks[i]
		want := s.expected - float64(s.held)
		if want <= 0 {
			continue
		}
		free := int64(0)
		for _, k := range s.on {
			free += p.b.sorts[k].free
		}
		reserve := 1.0
		if want < float64(free) {
			reserve = want / float64(free)
		}
		for _, k := range s.on {
			p.price[k] += priceMax * reserve * reserve
		}
	}
	for k := range p.price {
		p.price[k] = math.Round(p.price[k])
	}
}

func (p *scarce) best(scores []int32, r *Request) (int, int64) {
	if r.Count == 0 || len(p.b.reach.stocks) == 0 {
		return highest(scores)
	}
	p.reprice()
	at, top := -1, int64(math.MinInt64)
	for i, s := range scores {
		if s == none {
			continue
		}
		if v := int64(s) - int64(p.price[p.b.sort[i]]); v > top {
			at, top = i, v
		}
	}
	return at, top
}
