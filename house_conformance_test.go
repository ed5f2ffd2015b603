package polder_test

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

const conformancePage = "docs/conformance.md"

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
	for l := range strings.Lines(t.read(conformancePage)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(l), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		id := strings.Trim(cells[0], "`")
		if len(cells) >= 5 && id != cells[0] {
			rows[id] = append(rows[id], cells)
		}
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
		switch cells[2] {
		case "open", "partly":
		case "holds":
			out = append(out, t.unproved(r.id, cells[len(cells)-1])...)
		default:
			out = append(out, fmt.Sprintf("%s: `%s` has state %q; write holds, partly or open", conformancePage, r.id, cells[2]))
		}
	}
	return out
}

// unproved says what is missing of evidence such as `test/e2e: TestReset`.
func (t *tree) unproved(id, evidence string) []string {
	var out []string
	tests := 0
	for _, m := range span.FindAllStringSubmatch(evidence, -1) {
		dir, name, ok := strings.Cut(m[1], ": ")
		if !ok || !strings.HasPrefix(name, "Test") {
			continue
		}
		tests++
		if !t.hasTest(dir, name) {
			out = append(out, fmt.Sprintf("%s: `%s` holds by `%s`, which does not exist", conformancePage, id, m[1]))
		}
	}
	if tests == 0 {
		out = append(out, fmt.Sprintf("%s: `%s` holds, but names no test; write it as `dir: TestName`", conformancePage, id))
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
