package polder_test

import (
	"fmt"
	"go/ast"
	"iter"
	"slices"
	"strings"
)

const (
	conformancePage = "docs/conformance.md"
	clientsPage     = "docs/conformance-store.md"
)

// requirements of CNCF Kubernetes AI Conformance v1.37, and their levels.
var requirements = []struct{ id, level string }{
	{"driver_runtime_management", "SHOULD"},
	{"gpu_sharing", "SHOULD"},
	{"virtualized_accelerator", "SHOULD"},
	{"ai_inference", "MUST"},
	{"advanced_inference_ingress", "SHOULD"},
	{"high_performance_networking", "SHOULD"},
	{"disaggregated_inference", "SHOULD"},
	{"gang_scheduling", "MUST"},
	{"cluster_autoscaling", "MUST"},
	{"pod_autoscaling", "MUST"},
	{"accelerator_metrics", "MUST"},
	{"ai_service_metrics", "MUST"},
	{"secure_accelerator_access", "MUST"},
	{"workload_sandboxing", "SHOULD"},
	{"robust_controller", "MUST"},
}

// checkConformance reads the rows `| `id` | LEVEL | state | ... | evidence |`.
func checkConformance(t *tree) []string {
	if !t.has(conformancePage) {
		if t.stands() {
			return []string{conformancePage + " is missing"}
		}
		return nil
	}
	rows := map[string][][]string{}
	for id, cells := range t.rows(conformancePage, 5) {
		rows[id] = append(rows[id], cells)
	}
	var out []string
	for _, r := range requirements {
		if len(rows[r.id]) != 1 {
			out = append(out, fmt.Sprintf("%s has %d rows for `%s`; it needs one, of five cells", conformancePage, len(rows[r.id]), r.id))
			continue
		}
		cells := rows[r.id][0]
		if cells[1] != r.level {
			out = append(out, fmt.Sprintf("%s: `%s` is a %s, not %q", conformancePage, r.id, r.level, cells[1]))
		}
		out = append(out, t.stateOf(conformancePage, r.id, cells[2], cells[len(cells)-1])...)
	}
	return out
}

// checkClients reads the rows `| `id` | state | ... | evidence |` of what clients and suites
// say of the object store.
func checkClients(t *tree) []string {
	if !t.has(clientsPage) {
		return nil
	}
	var out []string
	for id, cells := range t.rows(clientsPage, 3) {
		out = append(out, t.stateOf(clientsPage, id, cells[1], cells[len(cells)-1])...)
	}
	return out
}

// rows are those of a page's tables that begin with an id and have so many cells at least.
func (t *tree) rows(page string, least int) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		for l := range strings.Lines(t.read(page)) {
			cells := strings.Split(strings.Trim(strings.TrimSpace(l), "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			id := strings.Trim(cells[0], "`")
			if len(cells) >= least && id != cells[0] && !yield(id, cells) {
				return
			}
		}
	}
}

// stateOf says what is wrong with a row's state.
func (t *tree) stateOf(page, id, state, evidence string) []string {
	switch state {
	case "open", "partly":
		return nil
	case "holds":
		return t.unproved(page, id, evidence)
	}
	return []string{fmt.Sprintf("%s: `%s` has state %q; write holds, partly or open", page, id, state)}
}

// unproved says what is missing of evidence such as `test/e2e: TestReset`.
func (t *tree) unproved(page, id, evidence string) []string {
	var out []string
	tests := 0
	for _, m := range span.FindAllStringSubmatch(evidence, -1) {
		dir, name, ok := strings.Cut(m[1], ": ")
		if !ok || !strings.HasPrefix(name, "Test") {
			continue
		}
		tests++
		if !t.hasTest(dir, name) {
			out = append(out, fmt.Sprintf("%s: `%s` holds by `%s`, which does not exist", page, id, m[1]))
		}
	}
	if tests == 0 {
		out = append(out, fmt.Sprintf("%s: `%s` holds, but names no test; write it as `dir: TestName`", page, id))
	}
	return out
}

func (t *tree) hasTest(dir, name string) bool {
	p := t.pkg(dir)
	return p != nil && slices.ContainsFunc(p.files, func(f *file) bool {
		return f.test && slices.ContainsFunc(f.ast.Decls, func(d ast.Decl) bool {
			fn, ok := d.(*ast.FuncDecl)
			return ok && fn.Recv == nil && fn.Name.Name == name
		})
	})
}
