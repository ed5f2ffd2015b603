package route

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// In no stretch of time more are let in than burst and rate allow.
func TestPaceIsNeverPassed(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		rate, burst := int32(1+rng.IntN(50)), int32(1+rng.IntN(20))
		p := NewPace(rate, burst, 10)
		now := time.Unix(1e9, 0)
		in := map[string][]time.Time{}
		for range 2000 {
			now = now.Add(time.Duration(rng.ExpFloat64() * float64(time.Second) / float64(rate) / 2))
			c := fmt.Sprint(rng.IntN(2))
			wait, ok := p.Take(c, now)
			if ok {
				in[c] = append(in[c], now)
				continue
			}
			if wait <= 0 {
				t.Fatalf("refused, and told to wait %v", wait)
			}
			if later := *p; len(in[c]) > 0 {
				later.full = map[string]time.Time{c: p.full[c]}
				if _, ok := later.Take(c, now.Add(wait)); !ok {
					t.Fatalf("refused again after %v", wait)
				}
			}
		}
		for c, times := range in {
			for i := range times {
				for k := i; k < len(times); k++ {
					if most := float64(burst) + times[k].Sub(times[i]).Seconds()*float64(rate); float64(k-i+1) > most+1e-6 {
						t.Fatalf("client %s had %d in %v, of %d/s and %d at once", c, k-i+1, times[k].Sub(times[i]), rate, burst)
					}
				}
			}
		}
	}
}

func TestPaceIsBounded(t *testing.T) {
	p := NewPace(1, 1, 3)
	now := time.Unix(1e9, 0)
	for i := range 3 {
		if _, ok := p.Take(fmt.Sprint(i), now); !ok {
			t.Fatal("refused")
		}
	}
	if _, ok := p.Take("one too many", now); ok {
		t.Error("a fourth client was let in")
	}
	if _, ok := p.Take("later", now.Add(2*time.Second)); !ok || len(p.full) != 1 {
		t.Errorf("those who may come again are remembered: %d", len(p.full))
	}
}

// Whatever is reserved, settled and lost by crashes, no day costs more than its budget, and
// nothing is spent that was not kept.
func TestPurseIsNeverPassed(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		const budget = 10_000
		var p, disk Purse
		now := time.Unix(1e9, 0)
		type held struct{ cost int64 }
		var open []held
		spent := map[string]int64{}
		kept := 0
		for range 500 {
			switch rng.IntN(12) {
			default:
				cost := int64(rng.IntN(60))
				keep, ok := p.Reserve(cost, budget, now)
				if keep {
					disk = Purse{Day: p.Day, Kept: p.Kept}
					kept++
				}
				if ok {
					open = append(open, held{cost})
				}
			case 0, 1, 2, 3, 4:
				if len(open) > 0 {
					c := int64(rng.IntN(int(open[0].cost) + 1))
					p.Settle(open[0].cost, c)
					spent[Day(now)] += c
					open = open[1:]
				}
			case 5:
				if rng.IntN(10) == 0 { // a crash: what was open had been sent, and did cost
					for _, h := range open {
						spent[Day(now)] += h.cost
					}
					open = nil
					p = Restore(disk)
				}
			case 6:
				if rng.IntN(20) == 0 {
					for _, h := range open {
						p.Release(h.cost)
					}
					open, now = nil, now.Add(24*time.Hour)
				}
			}
			if spent[Day(now)] > budget {
				t.Fatalf("%d of %d are spent", spent[Day(now)], budget)
			}
			if disk.Day == Day(now) && spent[Day(now)] > disk.Kept {
				t.Fatalf("%d are spent, and %d were kept", spent[Day(now)], disk.Kept)
			}
		}
		if kept > 400 {
			t.Errorf("kept %d times", kept)
		}
	}
}

func TestPurseDays(t *testing.T) {
	day := time.Date(2026, 3, 1, 23, 59, 59, 0, time.UTC)
	var p Purse
	if _, ok := p.Reserve(10, 10, day); !ok {
		t.Fatal("refused")
	}
	p.Settle(10, 10)
	if _, ok := p.Reserve(1, 10, day); ok {
		t.Error("more than the budget")
	}
	if !Midnight(day).Equal(day.Add(time.Second)) {
		t.Error(Midnight(day))
	}
	if _, ok := p.Reserve(10, 10, Midnight(day)); !ok {
		t.Error("a new day has no budget")
	}
	if _, ok := p.Reserve(1, 10, day); ok {
		t.Error("a clock that was put back opened the purse again")
	}
	c := p.Settled()
	if r := Restore(c); r.Spent != 10 || r.Kept != 10 {
		t.Errorf("%+v", r)
	}
}
