package s3

import (
	"fmt"
	"strconv"
	"strings"

	"polder.dev/polder/storage"
)

// parts are those that an object was made of. They are kept with the object, because a
// client may ask for one of them long after.
type parts struct {
	sizes     []int64
	algorithm string // of sums, "" where there are none
	sums      []string
}

// sumsMax bounds of how many parts the checksums are kept: they take room in the index.
const sumsMax = 1000

// encode writes "SIZE[xCOUNT],...;ALGORITHM;SUM,...".
func (p *parts) encode() string {
	var b strings.Builder
	for i := 0; i < len(p.sizes); {
		n := 1
		for i+n < len(p.sizes) && p.sizes[i+n] == p.sizes[i] {
			n++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(p.sizes[i], 10))
		if n > 1 {
			b.WriteString("x" + strconv.Itoa(n))
		}
		i += n
	}
	if p.algorithm != "" && len(p.sums) == len(p.sizes) && len(p.sums) <= sumsMax {
		b.WriteString(";" + p.algorithm + ";" + strings.Join(p.sums, ","))
	}
	return b.String()
}

// partsOf reads what encode wrote. An object that another door made has one part.
func partsOf(info *storage.Info) (*parts, error) {
	s := info.Meta.System[systemParts]
	if s == "" {
		return &parts{sizes: []int64{info.Size}}, nil
	}
	p := &parts{}
	runs, sums, _ := strings.Cut(s, ";")
	for r := range strings.SplitSeq(runs, ",") {
		size, count, many := strings.Cut(r, "x")
		n := int64(1)
		v, ok := digits(size)
		if many && ok {
			n, ok = digits(count)
		}
		if !ok || n < 1 || int64(len(p.sizes))+n > storage.PartsMax {
			return nil, fmt.Errorf("the sizes of %s's parts are kept as %q, which cannot be read", info.Key, runs)
		}
		for range n {
			p.sizes = append(p.sizes, v)
		}
	}
	if sums != "" {
		var list string
		p.algorithm, list, _ = strings.Cut(sums, ";")
		p.sums = strings.Split(list, ",")
		if algorithmOf(p.algorithm) == nil || len(p.sums) != len(p.sizes) {
			return nil, fmt.Errorf("the checksums of %s's parts are kept as %q, which cannot be read", info.Key, sums)
		}
	}
	return p, nil
}

// partNumber reads a part's number.
func partNumber(v string) (int, error) {
	n, ok := digits(v)
	if !ok || n < 1 || n > storage.PartsMax {
		return 0, fail("InvalidArgument", "Part number must be an integer between 1 and %d, inclusive, not %q.", storage.PartsMax, v)
	}
	return int(n), nil
}
