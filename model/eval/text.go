package eval

import (
	"math/bits"
	"slices"
	"strings"
	"unicode"
)

// texts compares answers with what was expected, row by row.
func texts(expected, answers []string) (exact []bool, f1, rouge []float64) {
	for i := range expected {
		e, p := normal(expected[i]), normal(answers[i])
		exact = append(exact, slices.Equal(e, p))
		f1 = append(f1, overlap(shared(e, p), len(e), len(p)))
		e, p = plain(expected[i]), plain(answers[i])
		rouge = append(rouge, overlap(common(e, p), len(e), len(p)))
	}
	return exact, f1, rouge
}

// overlap is the harmonic mean of which share of both texts' words is shared. Two empty
// texts share all that they have.
func overlap(both, a, b int) float64 {
	if a+b == 0 {
		return 1
	}
	return 2 * float64(both) / float64(a+b)
}

// normal are the words of a text as SQuAD's evaluation compares them: in lower case,
// without punctuation and the articles a, an and the. A letter of Chinese or Japanese is a
// word.
func normal(s string) []string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case unicode.IsPunct(r) || r < unicode.MaxASCII && unicode.IsSymbol(r):
		case isWord(r):
			b.WriteRune(' ')
			b.WriteRune(r)
			b.WriteRune(' ')
		default:
			b.WriteRune(r)
		}
	}
	return slices.DeleteFunc(strings.Fields(b.String()), func(w string) bool { return w == "a" || w == "an" || w == "the" })
}

// plain are the words of a text as ROUGE compares them: in lower case, parted by all that is
// neither letter nor digit. A letter of Chinese or Japanese is a word.
func plain(s string) []string {
	var out []string
	from := -1
	end := func(at int) {
		if from >= 0 {
			out = append(out, s[from:at])
		}
		from = -1
	}
	s = strings.ToLower(s)
	for i, r := range s {
		switch {
		case isWord(r):
			end(i)
			out = append(out, string(r))
		case !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r):
			end(i)
		case from < 0:
			from = i
		}
	}
	end(len(s))
	return out
}

// isWord reports whether a letter is of a script that is written without spaces.
func isWord(r rune) bool { return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) }

// shared is how many words two texts have in common, however they are ordered.
func shared(a, b []string) int {
	count := make(map[string]int, len(a))
	for _, w := range a {
		count[w]++
	}
	n := 0
	for _, w := range b {
		if count[w] > 0 {
			count[w]--
			n++
		}
	}
	return n
}

// common is the length of the longest sequence of words that both texts have in that order,
// with any others between. It goes over b once, with a bit for each word of a (Hyyrö, Bit-
// parallel LCS-length computation revisited, 2004).
func common(a, b []string) int {
	size := (len(a) + 63) / 64
	at := make(map[string][]uint64, len(a))
	for i, w := range a {
		if at[w] == nil {
			at[w] = make([]uint64, size)
		}
		at[w][i/64] |= 1 << (i % 64)
	}
	row := make([]uint64, size)
	for i := range row {
		row[i] = ^uint64(0)
	}
	for _, w := range b {
		is := at[w]
		if is == nil {
			continue
		}
		var carry uint64
		for i, v := range row {
			hit := v & is[i]
			var sum uint64
			sum, carry = bits.Add64(v, hit, carry)
			row[i] = sum | v&^is[i]
		}
	}
	n := 0
	for i, v := range row {
		if rest := len(a) - 64*i; rest < 64 {
			v |= ^uint64(0) << rest
		}
		n += bits.OnesCount64(^v)
	}
	return n
}
