package serve

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// checkSaid holds what is made of a program's last words to its bounds.
func checkSaid(t *testing.T, message string) {
	t.Helper()
	for what, text := range map[string]string{"last words": lastSaid(message), "clipped": clip(message, lastBytesMax)} {
		if !utf8.ValidString(text) || len(text) > lastBytesMax+len("...") {
			t.Errorf("%s of %q are %q, %d bytes", what, message, text, len(text))
		}
	}
	if strings.Contains(lastSaid(message), "\n") {
		t.Errorf("the last words have lines: %q", lastSaid(message))
	}
}

func TestLastSaid(t *testing.T) {
	for message, want := range map[string]string{
		"": "", "one": "one", "a\nb\nc\nd\n\n": "b | c | d", "\xff\n": "?",
		strings.Repeat("x", 500): "..." + strings.Repeat("x", 400),
	} {
		if got := lastSaid(message); got != want {
			t.Errorf("of %q: %q, want %q", message, got, want)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 20000 {
		b := make([]byte, rng.IntN(1500))
		for i := range b {
			b[i] = "a\n\xe4\xb8\xad\xff "[rng.IntN(7)]
		}
		checkSaid(t, string(b))
	}
}

// TestCause: what the kubelet says while it waits and while it tries is one thing.
func TestCause(t *testing.T) {
	const why = `failed to resolve reference "a/b": not found`
	for _, said := range []string{why, `Back-off pulling image "a/b": ErrImagePull: ` + why} {
		if got := cause(said); got != why {
			t.Errorf("the cause in %q is %q", said, got)
		}
	}
}

func FuzzLastSaid(f *testing.F) {
	f.Add("Traceback:\nValueError: broken\n")
	f.Add(strings.Repeat("\u4e2d", 300))
	f.Fuzz(checkSaid)
}
