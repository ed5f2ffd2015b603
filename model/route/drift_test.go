package route

import (
	"math/rand/v2"
	"testing"
)

func TestDriftFalseAlarms(t *testing.T) {
	// 40 worlds of 20,000 events at the bound itself are 800,000 events: on average less
	// than one alarm, and 5 or more have a chance below 1 in 200.
	alarms := 0
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 5))
		d := NewDrift(0.3)
		for range 20_000 {
			if d.Add(rng.Float64() < 0.3); d.Alarm() {
				alarms++
				break
			}
		}
	}
	if alarms > 4 {
		t.Errorf("%d false alarms", alarms)
	}
}

func TestDriftIsSeen(t *testing.T) {
	for _, c := range []struct {
		bound, share float64
		within       int
	}{{0.3, 0.45, 600}, {0.3, 0.35, 6000}, {0.05, 0.15, 500}, {0.3, 1, 60}} {
		slow := 0
		for seed := range uint64(20) {
			rng := rand.New(rand.NewPCG(seed, 6))
			d := NewDrift(c.bound)
			for range 5000 { // a good while before it
				d.Add(rng.Float64() < c.bound*0.9)
			}
			if d.Alarm() {
				t.Fatal("alarm before anything has changed")
			}
			n := 0
			for ; !d.Alarm() && n <= c.within; n++ {
				d.Add(rng.Float64() < c.share)
			}
			if n > c.within {
				slow++
			}
		}
		if slow > 2 {
			t.Errorf("%v instead of %v was not seen within %d events in %d of 20 worlds", c.share, c.bound, c.within, slow)
		}
	}
}

func TestDriftEnds(t *testing.T) {
	d := NewDrift(0.3)
	for range 500 {
		d.Add(true)
	}
	if !d.Alarm() {
		t.Fatal("no alarm")
	}
	for i := range 2 * Window {
		d.Add(i%10 == 0)
	}
	if share, of := d.Recent(); d.Alarm() || of != Window || share != 0.1 {
		t.Errorf("alarm %v, %v of %d", d.Alarm(), share, of)
	}
	var none Drift
	for range 5000 {
		none.Add(true)
	}
	if none.Alarm() {
		t.Error("an alarm where nothing was expected")
	}
}
