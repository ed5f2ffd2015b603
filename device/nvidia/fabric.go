package nvidia

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"polder.dev/polder/device"
)

// join finds the links between cards and the fabrics they make.
func (m *machine) join(a *answer) {
	at := m.indexed(a)
	near := graph{}
	for _, k := range slices.SortedFunc(maps.Keys(a.cells), func(x, y [2]int) int { return cmp.Or(x[0]-y[0], x[1]-y[1]) }) {
		from, to := at[k[0]], at[k[1]]
		if from == nil || to == nil || from == to || len(from.parts) > 0 || len(to.parts) > 0 || to.d.UUID == "" {
			continue
		}
		l, ok := link(to.d.UUID, a.cells[k])
		if !ok {
			continue
		}
		if l.Type == "nvlink" {
			l.Bandwidth = int64(l.Count) * min(a.speed[k[0]], a.speed[k[1]])
		}
		from.d.Links = append(from.d.Links, l)
		from.d.Note(device.Origin{From: a.log.source()}, "links")
		if l.Type == "nvlink" {
			near.join(from, to)
		}
	}
	m.joinSwitched(near)
	m.fabrics(near, a)
}

// joinSwitched joins the cards that registered with the switches of this machine.
// On machines with eight H100 or B200 all of them have the cluster 0 and the clique
// 0, as on every other such machine, so this cluster ends at the machine.
func (m *machine) joinSwitched(near graph) {
	first := map[string]*gpu{} // by clique
	for _, g := range m.gpus {
		if g.card == nil || len(g.parts) > 0 || !g.card.Fabric.complete() || g.card.Fabric.cluster() != "" {
			continue
		}
		clique := word(g.card.Fabric.Clique)
		if other := first[clique]; other != nil {
			near.join(other, g)
		} else {
			first[clique] = g
		}
	}
}

// fabrics sets the fabric of the cards that are in one.
func (m *machine) fabrics(near graph, a *answer) {
	members := map[*gpu][]string{}
	for _, g := range m.gpus {
		members[near.root(g)] = append(members[near.root(g)], g.d.UUID)
	}
	for _, g := range m.gpus {
		if len(g.parts) > 0 {
			continue
		}
		domain := ""
		if g.card != nil && g.card.Fabric.complete() {
			domain = g.card.Fabric.cluster()
		}
		group := members[near.root(g)]
		if domain == "" && len(group) < 2 {
			continue
		}
		g.d.Fabric = &device.Fabric{Type: "nvlink", Domain: cmp.Or(domain, local(group))}
		g.d.Note(device.Origin{From: a.log.source()}, "fabric")
	}
}

// complete reports whether the card takes part in a fabric.
func (f *fabric) complete() bool {
	return word(f.State) == "Completed" && (word(f.Status) == "" || word(f.Status) == "Success")
}

// cluster is a fabric of several machines: cards reach each other that have both the
// cluster and the clique in common. "" for a fabric within a machine, of which the
// cluster is all zeros.
func (f *fabric) cluster() string {
	cluster, clique := strings.ToLower(code(f.Cluster)), code(f.Clique)
	if strings.Trim(cluster, "0-") == "" || clique == "" {
		return ""
	}
	return cluster + "." + clique
}

// local is a domain made of the cards in it, so that no other machine has it; "" if
// not all of them have a UUID.
func local(uuids []string) string {
	if slices.Contains(uuids, "") {
		return ""
	}
	hash := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(uuids)), "\n")))
	return "nvlink-" + hex.EncodeToString(hash[:8])
}

// graph joins GPUs into groups: each points to another of its group or, the root, to
// none.
type graph map[*gpu]*gpu

func (r graph) root(g *gpu) *gpu {
	for r[g] != nil {
		g = r[g]
	}
	return g
}

func (r graph) join(a, b *gpu) {
	if a, b = r.root(a), r.root(b); a != b {
		r[a] = b
	}
}
