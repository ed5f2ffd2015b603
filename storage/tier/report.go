package tier

import (
	"context"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/residency"
)

// count adds a version to what the tiers hold; the home is nil.
func (s *Store) count(sums map[*level]*storage.Count, i storage.Info) {
	add := func(l *level) {
		c := sums[l]
		if c == nil {
			c = &storage.Count{}
			sums[l] = c
		}
		c.Number++
		c.Bytes += i.Size
	}
	if !i.Whereabouts.Away {
		add(nil)
	}
	if at, ok := parsePlace(i.Whereabouts.Place); ok {
		if l := s.level(at.level); l != nil {
			add(l)
		}
	}
}

// tally counts what the tiers hold of a bucket.
func (b *bucket) tally(ctx context.Context) (map[*level]*storage.Count, error) {
	sums := map[*level]*storage.Count{}
	return sums, b.each(ctx, func(i storage.Info) { b.store.count(sums, i) })
}

// Where tells where the bytes of a bucket are, the cache in memory and parts of uploads
// included. What two tiers hold counts in both. It reads all entries of the bucket.
func (s *Store) Where(ctx context.Context, bucketName string) ([]residency.Holding, error) {
	b, err := s.bucket(ctx, bucketName)
	if err != nil {
		return nil, err
	}
	info, err := b.home.Info(ctx)
	if err != nil {
		return nil, err
	}
	home := residency.Holding{Place: s.homePlace(), Class: s.homeClass(), Bytes: info.Usage.Parts.Bytes}
	sums := map[*level]*storage.Count{}
	err = b.each(ctx, func(i storage.Info) {
		s.count(sums, i)
		if i.Parts > 0 {
			home.Bytes -= i.Size // its parts are of no upload any more
		}
	})
	if err != nil {
		return nil, err
	}
	home.Bytes = max(home.Bytes, 0) // an upload was completed meanwhile
	var out []residency.Holding
	if s.cfg.Cache != nil {
		out = append(out, residency.Holding{Place: s.cachePlace(), Class: storage.Hot, Objects: b.owner.Objects.Load(), Bytes: b.owner.Bytes.Load()})
	}
	if c := sums[nil]; c != nil {
		home.Objects += c.Number
		home.Bytes += c.Bytes
	}
	out = append(out, home)
	for _, l := range s.levels {
		h := residency.Holding{Place: l.place(), Class: l.Class}
		if c := sums[l]; c != nil {
			h.Objects, h.Bytes = c.Number, c.Bytes
		}
		out = append(out, h)
	}
	return out, nil
}
