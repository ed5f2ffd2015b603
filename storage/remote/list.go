package remote

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"polder.dev/polder/storage"
)

// List implements storage.Bucket. Where the remote cannot list backwards, a listing in
// Reverse reads all up to where it begins. Metadata is not told.
func (b *Bucket) List(ctx context.Context, o storage.ListOptions) (storage.Listing, error) {
	done, err := b.begin(false)
	if err != nil {
		return storage.Listing{}, err
	}
	defer done()
	o.AfterID = ""
	l := &lister{b: b, o: o, ask: b.s.wire.list}
	if o.Reverse && !b.s.can.reverse {
		return l.backwards(ctx)
	}
	return l.forwards(ctx)
}

// Versions implements storage.Bucket.
func (b *Bucket) Versions(ctx context.Context, o storage.ListOptions) (storage.Listing, error) {
	done, err := b.begin(false)
	if err != nil {
		return storage.Listing{}, err
	}
	defer done()
	l := &lister{b: b, o: o, ask: b.s.wire.list}
	if !b.versioned() {
		l.o.AfterID = ""
		return l.forwards(ctx)
	}
	if o.Reverse {
		return storage.Listing{}, fmt.Errorf("%w: versions in descending order", ErrCannot)
	}
	l.ask = b.s.wire.versions
	return l.forwards(ctx)
}

// lister reads pages of the remote and yields one of ours.
type lister struct {
	b   *Bucket
	o   storage.ListOptions
	ask func(context.Context, string, query) (page, error)
}

// item is an object, or a prefix that is folded.
type item struct {
	name   string
	prefix bool
	entry  entry
}

// items are those of a page in order, without what the remote shows and we do not.
func (l *lister) items(p page) []item {
	out := make([]item, 0, len(p.entries)+len(p.prefixes))
	i, j := 0, 0
	for i < len(p.entries) || j < len(p.prefixes) {
		first := j == len(p.prefixes)
		if !first && i < len(p.entries) {
			first = (p.entries[i].key < p.prefixes[j]) != l.native()
		}
		it := item{prefix: !first}
		if first {
			it.name, it.entry = p.entries[i].key, p.entries[i]
			i++
		} else {
			it.name = p.prefixes[j]
			j++
		}
		home := l.b.home
		if !home.shared && (strings.HasPrefix(it.name, home.own) || it.name == home.own) {
			continue
		}
		if it.name = strings.TrimPrefix(it.name, home.prefix); it.name != "" {
			out = append(out, it)
		}
	}
	return out
}

// native says that the remote lists in descending order.
func (l *lister) native() bool { return l.o.Reverse && l.b.s.can.reverse }

func (l *lister) query() query {
	p := l.b.home.prefix
	q := query{prefix: p + l.o.Prefix, delimiter: l.o.Delimiter, limit: min(l.o.Max()+1, l.b.s.can.pageMax)}
	set := func(field *string, v string) {
		if v != "" {
			*field = p + v
		}
	}
	if l.o.Reverse && !l.native() {
		q.limit = l.b.s.can.pageMax
		if l.o.End != "" { // a prefix of that name may hold keys behind it
			q.after = p + justBefore(l.o.End, false)
		}
		return q
	}
	q.reverse = l.o.Reverse
	set(&q.after, l.o.After)
	q.afterID = l.o.AfterID
	if l.o.From != "" && l.o.After == "" {
		q.after = p + justBefore(l.o.From, l.o.Reverse)
	}
	if !q.reverse || q.delimiter == "" { // Swift leaves out a folded name that is the end or begins it, though keys below it come first
		set(&q.end, l.o.End)
	}
	return q
}

// justBefore is a name before another, between which no sane key lies; what does is
// left out by its name.
func justBefore(s string, reverse bool) string {
	if reverse {
		return s + "\x01"
	}
	r, n := utf8.DecodeLastRuneInString(s)
	head := s[:len(s)-n]
	switch {
	case r <= 1:
		return head
	case r == 0xE000:
		return head + "\uD7FF" + string(utf8.MaxRune)
	}
	return head + string(r-1) + string(utf8.MaxRune)
}

func (l *lister) forwards(ctx context.Context) (storage.Listing, error) {
	var out storage.Listing
	limit := l.o.Max()
	for q := l.query(); ; {
		p, err := l.ask(ctx, l.b.home.container, q)
		if err != nil {
			return out, fmt.Errorf("listing %s: %w", l.b.name, err)
		}
		for _, it := range l.items(p) {
			ok, end, err := l.within(ctx, it)
			if err != nil {
				return out, err
			}
			if end {
				return out, nil
			}
			if !ok {
				continue
			}
			if !it.prefix && it.name == l.o.After && it.entry.version == l.o.AfterID {
				return out, fmt.Errorf("%w: the remote lists again what it has listed, %q", storage.ErrUnavailable, it.name)
			}
			if out.Size() == limit {
				out.More = true
				return out, nil
			}
			if err := l.add(ctx, &out, it); err != nil {
				return out, err
			}
		}
		if !p.more {
			return out, nil
		}
		if err := q.advance(p); err != nil {
			return out, err
		}
	}
}

func (l *lister) add(ctx context.Context, out *storage.Listing, it item) error {
	out.Next, out.NextID = it.name, ""
	if it.prefix {
		out.Prefixes = append(out.Prefixes, it.name)
		return nil
	}
	e := it.entry
	if e.large { // the remote's listing tells of the manifest
		now, err := l.b.s.wire.head(ctx, place{l.b.home.container, e.key}, "")
		if err == nil {
			now.key, now.latest = e.key, true
			e = now
		}
	}
	i := l.b.infoOf(e)
	out.NextID = i.Version
	i.Meta = storage.Meta{}
	out.Objects = append(out.Objects, i)
	return nil
}

// within says whether an item is in the bounds, or behind them.
func (l *lister) within(ctx context.Context, it item) (ok, end bool, err error) {
	before := func(a, b string) bool { return a < b }
	if l.o.Reverse {
		before = func(a, b string) bool { return a > b }
	}
	n := it.name
	switch o := l.o; {
	case !it.prefix:
		if o.After != "" && (before(n, o.After) || n == o.After && o.AfterID == "") || o.From != "" && before(n, o.From) {
			return false, false, nil
		}
		end = o.End != "" && !before(n, o.End)
		return !end, end, nil
	case !o.Reverse:
		if n == o.After || o.End != "" && n >= o.End {
			return false, o.End != "" && n >= o.End, nil
		}
		for _, low := range []string{o.After, o.From} {
			if low > n && !strings.HasPrefix(low, n) {
				return false, false, nil
			}
		}
	default:
		if o.End != "" && n < o.End && !strings.HasPrefix(o.End, n) {
			return false, l.native(), nil
		}
		if o.After != "" && n >= o.After || o.From != "" && n > o.From {
			return false, false, nil
		}
	}
	if !l.straddles(n) {
		return true, false, nil
	}
	ok, err = l.inside(ctx, n)
	return ok, false, err
}

// straddles says that a bound is among the keys of a folded prefix.
func (l *lister) straddles(n string) bool {
	for _, bound := range []string{l.o.After, l.o.From, l.o.End} {
		if bound != "" && strings.HasPrefix(bound, n) {
			return true
		}
	}
	return false
}

// inside asks whether a key of a folded prefix is in the bounds.
func (l *lister) inside(ctx context.Context, n string) (bool, error) {
	o, home := l.o, l.b.home.prefix
	q := query{prefix: home + n, limit: 1}
	low := o.After
	switch {
	case o.Reverse:
		low = o.End
	case o.From > o.After:
		low = justBefore(o.From, false)
	}
	if low != "" {
		q.after = home + low
	}
	p, err := l.b.s.wire.list(ctx, l.b.home.container, q)
	if err != nil || len(p.entries) == 0 {
		return false, err
	}
	first := strings.TrimPrefix(p.entries[0].key, home)
	if o.Reverse {
		return (o.After == "" || first < o.After) && (o.From == "" || first <= o.From), nil
	}
	return o.End == "" || first < o.End, nil
}

// backwards reads forwards up to where the listing begins, and keeps the last page.
func (l *lister) backwards(ctx context.Context) (storage.Listing, error) {
	limit := l.o.Max()
	var last []item
	more := false
	for q := l.query(); ; {
		p, err := l.ask(ctx, l.b.home.container, q)
		if err != nil {
			return storage.Listing{}, fmt.Errorf("listing %s: %w", l.b.name, err)
		}
		for _, it := range l.items(p) {
			ok, _, err := l.within(ctx, it)
			if err != nil {
				return storage.Listing{}, err
			}
			if ok {
				last = append(last, it)
			}
		}
		if len(last) > 2*limit {
			last, more = append([]item(nil), last[len(last)-limit:]...), true
		}
		if !p.more || l.past(p) {
			break
		}
		if err := q.advance(p); err != nil {
			return storage.Listing{}, err
		}
	}
	if len(last) > limit {
		last, more = last[len(last)-limit:], true
	}
	var out storage.Listing
	for i := len(last) - 1; i >= 0; i-- {
		if err := l.add(ctx, &out, last[i]); err != nil {
			return out, err
		}
	}
	out.More = more
	return out, nil
}

// past says that all that follows comes after where a descending listing begins.
func (l *lister) past(p page) bool {
	top := l.o.From
	if top == "" || l.o.After != "" && l.o.After < top {
		top = l.o.After
	}
	return top != "" && p.next > l.b.home.prefix+top
}
