package tier

import (
	"fmt"
	"slices"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/residency"
)

// policy is what a bucket's settings mean for this store.
type policy struct {
	storage.Tiers
	residency storage.Residency
	lower     *level // nil if there is none
	hot       bool
}

// pinnedMax bounds how many prefixes a policy may pin: each is compared with each key.
const pinnedMax = 1000

// judge makes a policy of settings, or says why they cannot be kept.
func (s *Store) judge(name string, set *storage.Settings) (*policy, error) {
	p := &policy{Tiers: set.Tiers, residency: set.Residency}
	if isDefault(&p.Tiers) {
		p.Tiers = s.cfg.Default
	}
	if err := residency.Check(p.residency); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	places := []residency.Place{s.homePlace()}
	if p.Lower != "" {
		if p.lower = s.level(p.Lower); p.lower == nil {
			return nil, fmt.Errorf("bucket %s: %w: there is no tier %q", name, storage.ErrInvalid, p.Lower)
		}
		places = append(places, p.lower.place())
	}
	if s.cfg.Cache != nil && !p.NoHot {
		p.hot = true
		places = append(places, s.cachePlace())
	}
	switch {
	case p.Write > storage.WriteThrough:
		return nil, fmt.Errorf("bucket %s: %w: unknown way of writing", name, storage.ErrInvalid)
	case p.lower == nil && (p.Write != storage.WriteHome || p.DemoteAfter != 0):
		return nil, fmt.Errorf("bucket %s: %w: a policy that copies or demotes names a lower tier", name, storage.ErrInvalid)
	case p.DemoteAfter < 0 || p.DemoteBytesMin < 0 || len(p.Pinned) > pinnedMax:
		return nil, fmt.Errorf("bucket %s: %w: a time or size below 0, or more than %d pinned prefixes", name, storage.ErrInvalid, pinnedMax)
	}
	if err := residency.Admit(name, p.residency, places...); err != nil {
		return nil, err
	}
	return p, nil
}

func isDefault(t *storage.Tiers) bool {
	return t.Lower == "" && t.Write == storage.WriteHome && t.DemoteAfter == 0 && t.DemoteBytesMin == 0 && len(t.Pinned) == 0 && !t.NoHot && !t.NoPromote
}

// pins reports whether the policy keeps a key at home.
func (p *policy) pins(key string) bool {
	return slices.ContainsFunc(p.Pinned, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}

// copies reports whether the policy wants a copy below of what is written.
func (p *policy) copies() bool { return p.lower != nil && p.Write != storage.WriteHome }
