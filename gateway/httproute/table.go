package httproute

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Table says what becomes of requests. Its zero value knows no host. It is not changed
// once it is made.
type Table struct {
	entries []entry
	hosts   map[string]bool // and "*.x", and "" for all
}

// entry is one match of one rule under one host.
type entry struct {
	host    string
	match   match
	rule    *rule
	created time.Time
	key     types.NamespacedName
	order   int
}

// newTable puts entries in the order in which they come into question: that of the
// Gateway API, under HTTPRouteRule.matches.
func newTable(entries []entry) *Table {
	t := &Table{entries: entries, hosts: map[string]bool{}}
	for _, e := range entries {
		t.hosts[e.host] = true
	}
	slices.SortStableFunc(t.entries, func(a, b entry) int {
		return cmp.Or(
			cmp.Compare(hostRank(b.host), hostRank(a.host)),
			more(a.match.exact != "", b.match.exact != ""),
			cmp.Compare(len(b.match.exact)+len(b.match.prefix), len(a.match.exact)+len(a.match.prefix)),
			more(a.match.method != "", b.match.method != ""),
			cmp.Compare(len(b.match.headers), len(a.match.headers)),
			cmp.Compare(len(b.match.query), len(a.match.query)),
			a.created.Compare(b.created),
			cmp.Compare(a.key.String(), b.key.String()),
			cmp.Compare(a.order, b.order),
		)
	})
	return t
}

// more puts true before false.
func more(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// hostRank is higher the fewer hosts one stands for.
func hostRank(host string) int {
	const exact = 1 << 16 // no name is as long
	switch {
	case host == "":
		return 0
	case strings.HasPrefix(host, "*."):
		return len(host)
	}
	return exact
}

// Knows tells whether requests to a host are for a route.
func (t *Table) Knows(host string) bool {
	if t == nil || len(t.hosts) == 0 {
		return false
	}
	host = strings.ToLower(host)
	if t.hosts[host] || t.hosts[""] {
		return true
	}
	for rest := host; ; {
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			return false
		}
		if t.hosts["*."+after] {
			return true
		}
		rest = after
	}
}

// find returns the entry that a request is for, or nil.
func (t *Table) find(host string, r *http.Request) *entry {
	host = strings.ToLower(host)
	var query url.Values
	for i := range t.entries {
		e := &t.entries[i]
		if !e.takes(host) || !e.match.takes(r) {
			continue
		}
		if len(e.match.query) > 0 && query == nil {
			query = r.URL.Query()
		}
		if !slices.ContainsFunc(e.match.query, func(p pair) bool { return !query.Has(p.name) || query.Get(p.name) != p.value }) {
			return e
		}
	}
	return nil
}

func (e *entry) takes(host string) bool {
	return e.host == "" || e.host == host || strings.HasPrefix(e.host, "*.") && covers(e.host, host)
}

// takes tells whether all but the query fits.
func (m *match) takes(r *http.Request) bool {
	if m.exact != "" && r.URL.Path != m.exact || m.method != "" && r.Method != m.method {
		return false
	}
	if m.exact == "" && m.prefix != "" {
		rest, ok := strings.CutPrefix(r.URL.Path, m.prefix)
		if !ok || rest != "" && rest[0] != '/' {
			return false
		}
	}
	for _, h := range m.headers {
		if strings.Join(r.Header.Values(h.name), ",") != h.value { // several lines are one list
			return false
		}
	}
	return true
}

// pick returns a backend by weight: draw is below 1 and as likely to be anywhere from 0 on.
// nil: the rule sends nothing anywhere.
func (r *rule) pick(draw float64) *backend {
	at := int64(draw * float64(r.weights))
	for i := range r.backends {
		if at < r.backends[i].weight {
			return &r.backends[i]
		}
		at -= r.backends[i].weight
	}
	return nil
}
