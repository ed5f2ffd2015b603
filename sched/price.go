package sched

import (
	"fmt"
	"math"
	"os"
)

type scarce struct {
	gradient
	stocks []stock
	price  []float64
	W      float64
	V      string
}

type stock struct {
	on       []int
	expected float64
	key      string
	cap      float64
}

func (p *scarce) init() {
	b := p.b
	p.V = os.Getenv("V")
	p.W = 10
	fmt.Sscan(os.Getenv("W"), &p.W)
	p.price = make([]float64, len(b.sorts))
	caps := make([]float64, len(b.sorts))
	G := 0.0
	for i := range b.nodes {
		c := float64(len(b.nodes[i].Devices)) * Whole
		caps[b.sort[i]] += c
		G += c
	}
	D := 0.0
	for _, k := range b.config.Workload.Kinds {
		D += float64(k.Weight) * float64(k.Request.Milli())
	}
	at := map[string]int{}
	for _, k := range b.config.Workload.Kinds {
		if len(k.Request.Models) == 0 {
			continue
		}
		key := fmt.Sprintf("%q", k.Request.Models)
		j, ok := at[key]
		if !ok {
			j = len(p.stocks)
			at[key] = j
			st := stock{key: key}
			for s := range b.sorts {
				for _, m := range b.sorts[s].models {
					if k.Request.allows(m) {
						st.on = append(st.on, s)
						st.cap += caps[s]
					}
				}
			}
			p.stocks = append(p.stocks, st)
		}
		p.stocks[j].expected += float64(k.Weight) * float64(k.Request.Milli()) / D * G
	}
}

func (p *scarce) prices(r *Request) {
	clear(p.price)
	if r.Count == 0 {
		return
	}
	b := p.b
	for i := range p.stocks {
		s := &p.stocks[i]
		v := 0.0
		switch p.V {
		case "", "0":
			v = s.expected / s.cap
		case "1":
			want := s.expected
			if h := b.holds[s.key]; h != nil {
				want -= float64(h.Milli)
			}
			free := 0.0
			for _, k := range s.on {
				free += float64(b.idle[k])
			}
			if want > 0 {
				v = want / math.Max(free, 1000)
			}
		}
		for _, k := range s.on {
			p.price[k] += v
		}
	}
	for k := range p.price {
		p.price[k] = math.Ceil(p.price[k] * p.W)
	}
}

func (p *scarce) best(scores []int32, r *Request) (int, int64) {
	if p.price == nil {
		p.init()
	}
	p.prices(r)
	at, top := -1, float64(none)
	for i, s := range scores {
		if s == none {
			continue
		}
		if v := float64(s) - p.price[p.b.sort[i]]; v > top {
			at, top = i, v
		}
	}
	return at, int64(top)
}
