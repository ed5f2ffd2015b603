package gang

import (
	"fmt"

	"polder.dev/polder/sched"
)

// Shortage says why a gang found no room.
type Shortage struct {
	// Level of the domains that were looked at, "" for the whole cluster, how many there
	// are, and the one that comes nearest.
	Level   string
	Domains int
	Nearest sched.Label
	// Members of the gang, and how many of them found no room in the nearest domain. None
	// if each kind of them would, but not all kinds together.
	Members, Short int
	// Request of the first that found none.
	Request sched.Request
}

func (p *placer) shortage(level string, domains []*domain) *Shortage {
	s := &Shortage{Level: level, Domains: len(domains), Members: len(p.gang.Requests), Short: len(p.gang.Requests), Request: p.kinds[0].request}
	if len(domains) == 0 {
		return s
	}
	d := domains[0]
	s.Nearest, s.Short = d.label, d.short
	for k := range p.kinds {
		if d.room[k] < len(p.kinds[k].members) {
			s.Request = p.kinds[k].request
			break
		}
	}
	return s
}

// String is a sentence.
func (s *Shortage) String() string {
	all := fmt.Sprintf("all %d workers must be placed together", s.Members)
	switch {
	case s.Domains == 0:
		return fmt.Sprintf("%s in one %s, and no node says in which %s it is", all, s.Level, s.Level)
	case s.Level == "" && s.Short > 0:
		return fmt.Sprintf("%s, and %d of them find no room, each for %s", all, s.Short, s.Request)
	case s.Level == "":
		return fmt.Sprintf("%s, and there is room for each sort of them, but not for all at once", all)
	case s.Short > 0:
		return fmt.Sprintf("%s in one %s; the nearest of %d is %s, where %d find no room, each for %s", all, s.Level, s.Domains, s.Nearest.Name, s.Short, s.Request)
	}
	return fmt.Sprintf("%s in one %s; in the nearest of %d, %s, there is room for each sort of them, but not for all at once", all, s.Level, s.Domains, s.Nearest.Name)
}
