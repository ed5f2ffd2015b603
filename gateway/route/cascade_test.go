package route

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestCascadeOfBatches(t *testing.T) {
	for _, binary := range []bool{false, true} {
		w := start(t)
		w.services["s"], w.services["l"] = classifier(t, "s", 0), classifier(t, "l", 0.25)
		w.Set(cascade("0.5"))
		body, h := rows(t, binary, 1, 10, 0.5, 11, 0, 12, 0.625, 13)
		r := w.do(request{body: body, header: h})
		want(t, r, 200, "Polder-Route: r/all", "Polder-Target: small,large", "Polder-Escalated: 2/4", "Polder-Cost: 11", "Polder-Revision: ")
		if got := probabilities(t, r); !slices.Equal(got, []float32{1, 0.75, 0, 0.875}) {
			t.Errorf("binary %v: %v", binary, got)
		}
		if l := w.find(split2key()); l.seen.requests != 4 || l.seen.escalated != 2 || l.seen.compared != 2 || l.seen.disagreed != 1 {
			t.Errorf("%+v", l.seen) // of two equals the first class is the likeliest
		}
		body, h = rows(t, binary, 1, 10, 0, 11)
		r = w.do(request{body: body, header: h})
		want(t, r, 200, "Polder-Target: small", "Polder-Escalated: no", "Polder-Cost: 1")
		body, h = rows(t, binary, 0.5, 10, 0.6, 11)
		r = w.do(request{body: body, header: h})
		want(t, r, 200, "Polder-Target: large", "Polder-Escalated: yes")
		if got := probabilities(t, r); !slices.Equal(got, []float32{0.75, 0.85}) {
			t.Errorf("%v", got)
		}
	}
}

// Rows of which the specialist is sure are answered by it, and the general model is not
// asked about them; all others are answered by the general model.
func TestCascadeProperty(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	w := start(t)
	w.services["s"] = classifier(t, "s", 0)
	general := classifier(t, "l", 10) // always class 1 with certainty
	w.services["l"] = func(rw http.ResponseWriter, r *http.Request) { general(rw, r) }
	for range 300 {
		w.Remove(split2key())
		threshold := float64(rng.IntN(1000)) / 1000
		w.Set(cascade(fmt.Sprint(threshold)))
		var x, expect []float32
		unsure := 0
		for i := range 1 + rng.IntN(8) {
			p := float32(rng.IntN(1001)) / 1000
			x = append(x, p, float32(i))
			margin := float64(max(1-p, p)) - float64(min(1-p, p))
			if margin < threshold {
				unsure++
				expect = append(expect, 1)
			} else {
				expect = append(expect, p)
			}
		}
		before := w.calls("l")
		body, h := rows(t, rng.IntN(2) == 0, x...)
		r := w.do(request{body: body, header: h})
		want(t, r, 200)
		if got := probabilities(t, r); !slices.Equal(got, expect) {
			t.Fatalf("threshold %v of %v gave %v, want %v", threshold, x, got, expect)
		}
		if asked := w.calls("l") - before; asked != min(unsure, 1) {
			t.Fatalf("the general model was asked %d times about %d rows", asked, unsure)
		}
	}
}

func TestCascadeOfOneOutput(t *testing.T) {
	w := start(t)
	w.services["s"], w.services["l"] = classifier(t, "s", 0), classifier(t, "l", 0.25)
	w.Set(cascade("0.5"))
	body := []byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[1,10,0.5,11]}],"outputs":[{"name":"echo"}]}`)
	r := w.do(request{body: body})
	want(t, r, 200, "Polder-Escalated: 1/2")
	if got := text(t, r); strings.Contains(got, "probabilities") || !strings.Contains(got, `"echo"`) || !strings.Contains(got, "[10,11]") {
		t.Error(got)
	}
}

func TestCascadeWithoutScores(t *testing.T) {
	w := start(t)
	w.services["s"] = func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(rw, `{"outputs":[{"name":"values","datatype":"FP32","shape":[1],"data":[3]}]}`)
	}
	w.services["l"] = classifier(t, "l", 0)
	w.Set(cascade("0"))
	body, h := rows(t, false, 1, 10)
	want(t, w.do(request{body: body, header: h}), 200, "Polder-Target: large", "Polder-Escalated: yes")
	w.services["s"] = status(200) // an answer that is none
	want(t, w.do(request{body: body, header: h}), 200, "Polder-Target: large", "Polder-Escalated: yes")
}

func TestCascadeThatCannotBeMerged(t *testing.T) {
	w := start(t)
	w.services["s"] = classifier(t, "s", 0)
	w.services["l"] = func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, `{"outputs":[{"name":"logits","datatype":"FP32","shape":[1,2],"data":[0,9]}]}`)
	}
	w.Set(cascade("0.5"))
	body, h := rows(t, false, 1, 10, 0.5, 11)
	r := w.do(request{body: body, header: h})
	want(t, r, 200, "Polder-Target: large", "Polder-Escalated: yes")
	if !strings.Contains(text(t, r), "logits") || w.calls("l") != 2 {
		t.Errorf("the general model was asked %d times", w.calls("l"))
	}
}

func TestCascadeOfBadRequests(t *testing.T) {
	w := start(t)
	w.services["s"], w.services["l"] = status(400), classifier(t, "l", 0)
	w.Set(cascade("0.5"))
	r := w.do(request{body: []byte(`{"inputs":`)})
	want(t, r, 400)
	if w.calls("s") != 0 {
		t.Error("a specialist was asked what is no request")
	}
	body, h := rows(t, false, 1, 10)
	want(t, w.do(request{body: body, header: h}), 400, "Polder-Target: small")
	if w.calls("l") != 0 {
		t.Error("the general model was asked what the specialist found wrong")
	}
	r = w.do(request{path: "/v1/embeddings", body: []byte(`{"model":"r"}`)})
	want(t, r, 400)
	if got := text(t, r); !strings.Contains(got, "cannot be judged") {
		t.Error(got)
	}
}

func TestCascadeFallsBack(t *testing.T) {
	body, h := rows(t, false, 0.5, 10, 1, 11)
	t.Run("the specialist is down", func(t *testing.T) {
		for _, s := range []http.HandlerFunc{nil, status(500)} {
			w := start(t)
			w.services["s"], w.services["l"] = s, classifier(t, "l", 0)
			w.Set(cascade("0.5"))
			want(t, w.do(request{body: body, header: h}), 200, "Polder-Target: large", "Polder-Escalated: yes")
		}
	})
	t.Run("the general model is down", func(t *testing.T) {
		w := start(t)
		w.services["s"] = classifier(t, "s", 0)
		w.Set(cascade("0.5"))
		want(t, w.do(request{body: body, header: h}), 503)
		w.services["l"] = status(502)
		want(t, w.do(request{body: body, header: h}), 502, "Polder-Target: large")
		route := cascade("0.5")
		route.Generation, route.Spec.Fallback = 2, []string{"other", "small"}
		w.Set(route)
		r := w.do(request{body: body, header: h})
		want(t, r, 200, "Polder-Target: small", "Polder-Escalated: failed")
		if got := probabilities(t, r); !slices.Equal(got, []float32{0.5, 1}) {
			t.Error(got)
		}
		w.services["o"] = classifier(t, "o", 0.25)
		want(t, w.do(request{body: body, header: h}), 200, "Polder-Target: small,other", "Polder-Escalated: 1/2")
	})
}

func TestCascadeOfText(t *testing.T) {
	ask := []byte(`{"model":"r","messages":[{"role":"user","content":"hello"}]}`)
	w := start(t)
	w.services["s"], w.services["l"] = says("small talk", -0.01), says("large talk", -0.01)
	w.Set(cascade("0.9"))
	r := w.do(request{path: pathChat, body: ask})
	want(t, r, 200, "Polder-Target: small", "Polder-Escalated: no")
	if got := text(t, r); !strings.Contains(got, "small talk") || strings.Contains(got, "logprob\"") || !strings.Contains(got, `"logprobs":null`) {
		t.Error(got)
	}
	r = w.do(request{path: pathChat, body: []byte(`{"model":"r","logprobs":true}`)})
	if got := text(t, r); !strings.Contains(got, "-0.01") {
		t.Errorf("asked for, and taken out: %s", got)
	}
	w.services["s"] = says("small talk", -2)
	r = w.do(request{path: pathChat, body: ask})
	want(t, r, 200, "Polder-Target: large", "Polder-Escalated: yes")
	if got := text(t, r); !strings.Contains(got, "large talk") {
		t.Error(got)
	}
	before := w.calls("s")
	want(t, w.do(request{path: pathChat, body: []byte(`{"model":"r","stream":true}`)}), 200, "Polder-Target: large")
	if w.calls("s") != before {
		t.Error("a specialist was asked for a stream that cannot be judged")
	}
	w.services["s"] = status(400)
	want(t, w.do(request{path: pathChat, body: ask}), 200, "Polder-Target: large")
	w.services["s"] = nil
	want(t, w.do(request{path: pathChat, body: ask}), 200, "Polder-Target: large")
	route := cascade("0.9")
	route.Generation, route.Spec.Fallback = 2, []string{"small"}
	w.Set(route)
	w.services["s"], w.services["l"] = says("small talk", -2), nil
	r = w.do(request{path: pathChat, body: ask})
	want(t, r, 200, "Polder-Target: small", "Polder-Escalated: failed")
	want(t, w.do(request{path: pathChat, body: []byte(`[]`)}), 400)
}
