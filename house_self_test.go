package polder_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"
)

// sound is a small house that keeps every rule.
func sound(t *testing.T) map[string]string {
	t.Helper()
	a, err := txtar.ParseFile("testdata/sound.txtar")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range a.Files {
		files[f.Name] = string(f.Data)
	}
	return files
}

func house(t *testing.T, files map[string]string) *tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for p, text := range files {
		fsys[p] = &fstest.MapFile{Data: []byte(text)}
	}
	tr, err := load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestSoundHouseHasNoProblem(t *testing.T) {
	tr := house(t, sound(t))
	for _, r := range rules {
		for _, p := range r.check(tr) {
			t.Errorf("%s: %s", r.name, p)
		}
	}
}

// TestRulesBite breaks the sound house in one place a case, and wants the rule to
// say so in words a reader finds. Every rule has a case.
func TestRulesBite(t *testing.T) {
	const gone = "\x00" // removes the file
	letters := strings.Repeat("Ab1", 20)
	page := func(name, old, new string) string {
		text := sound(t)[name]
		if !strings.Contains(text, old) {
			t.Fatalf("%s does not hold %q", name, old)
		}
		return strings.Replace(text, old, new, 1)
	}
	holds := func(evidence string) string {
		return page("docs/conformance.md", "| `gang_scheduling` | MUST | open | later | |", "| `gang_scheduling` | MUST | holds | | "+evidence+" |")
	}
	cases := []struct{ rule, path, text, want string }{
		{"doc", "device/device.go", "package device\n", "device has no package comment"},
		{"doc", "device/device.go", "// Devices and such.\npackage device\n", `must begin with "Package device "`},
		{"doc", "device/more.go", "// Package device again.\npackage device\n", "2 package comments"},
		{"doc", "test/e2e/up_test.go", "package e2e\n", "test/e2e has no package comment"},
		{"doc", "tools/lint/main.go", "package main\n", "tools/lint has no package comment"},
		{"name", "internal/util/x.go", "// Package util is.\npackage util\n", `"util" says nothing`},
		{"name", "internal/kubeutil/x.go", "// Package kubeutil is.\npackage kubeutil\n", `"kubeutil" says nothing`},
		{"name", "pkg/gang/x.go", "// Package gang is.\npackage gang\n", `"pkg" says nothing`},
		{"name", "sched/gang/x.go", "// Package group is.\npackage group\n", "does not match its directory gang"},
		{"name", "sched/gangs/x.go", "// Package gangs is.\npackage gangs\n", "is a plural"},
		{"name", "sched/job_gang/x.go", "// Package job_gang is.\npackage job_gang\n", "must be one word"},
		{"program", "sched/main.go", "// Command sched is.\npackage main\n", "sched is a program"},
		{"import", "attic/attic.go", "// Package attic is.\npackage attic\n", "attic is in no row"},
		{"import", "workload/serve/serve.go", "// Package serve.\npackage serve\n\nimport \"polder.dev/polder/workload/train\"\n", "one writes an object"},
		{"import", "workload/serve/serve.go", "// Package serve.\npackage serve\n\nimport \"polder.dev/polder/workload/train/metric\"\n", "one writes an object"},
		{"import", "device/device.go", "// Package device.\npackage device\n\nimport \"polder.dev/polder/sched\"\n", "device/device.go imports sched"},
		{"import", "device/device.go", "// Package device.\npackage device\n\nimport \"polder.dev/polder/internal/kube\"\n", "imports internal/kube"},
		{"import", "device/device_test.go", "package device\n\nimport \"polder.dev/polder/device/dra\"\n", "imports device/dra"},
		{"import", "cli/cli.go", "// Package cli.\npackage cli\n\nimport \"polder.dev/polder/system\"\n", "no back door"},
		{"import", "node/kubelet/k.go", "// Package kubelet.\npackage kubelet\n\nimport \"polder.dev/polder/node/containerd\"\n", "only system joins them"},
		{"import", "internal/kube/kube.go", "// Package kube.\npackage kube\n\nimport \"polder.dev/polder/device\"\n", "imports device"},
		{"import", "cmd/polder/main.go", "// Command polder.\npackage main\n\nimport \"polder.dev/polder/controlplane/etcd\"\n", "imports controlplane/etcd"},
		{"import", "api/doc.go", "// Package api.\npackage api\n\nimport \"polder.dev/polder/internal/logs\"\n", "nothing of ours"},
		{"library", "system/system.go", "// Package system.\npackage system\n\nimport \"k8s.io/kubernetes/cmd/kubelet/app\"\n", "only in controlplane/*, node/*"},
		{"library", "system/system.go", "// Package system.\npackage system\n\nimport \"k8s.io/apiserver/pkg/cel/environment\"\n", "prove the policies"},
		{"library", "controlplane/apiserver/a.go", "// Package apiserver.\npackage apiserver\n\nimport \"go.etcd.io/etcd/client/v3\"\n", "only in controlplane/etcd"},
		{"library", "workload/train/t.go", "package train\n\nimport \"github.com/containerd/containerd/v2/client\"\n", "only in node/*"},
		{"library", "sched/sched.go", "// Package sched.\npackage sched\n\nimport \"k8s.io/kube-scheduler/framework\"\n", "thin shim"},
		{"library", "cli/cli.go", "// Package cli.\npackage cli\n\nimport \"k8s.io/client-go/rest\"\n", "300 packages"},
		{"library", "device/fake/fake_test.go", "package fake_test\n\nimport \"k8s.io/client-go/rest\"\n", "300 packages"},
		{"library", "device/fake/fake_test.go", "//go:build linux\n\npackage fake_test\n\nimport \"k8s.io/client-go/rest\"\n", "300 packages"},
		{"library", "device/device.go", "// Package device.\npackage device\n\nimport \"k8s.io/component-base/metrics\"\n", "plain Go"},
		{"library", "device/device.go", "// Package device.\npackage device\n\nimport \"C\"\n", "nowhere"},
		{"library", "device/device_test.go", "package device\n\nimport \"github.com/stretchr/testify/assert\"\n", "go-cmp"},
		{"api", "api/doc.go", "// Package api.\npackage api\n\nimport \"sigs.k8s.io/yaml\"\n", "api/doc.go imports sigs.k8s.io/yaml"},
		{"init", "device/device.go", "// Package device.\npackage device\n\nfunc init() { register(1) }\n", "device.go:4"},
		{"init", "api/v1/v1.go", "// Package v1.\npackage v1\n\nfunc init() { SchemeBuilder.Register(nil); spawn() }\n", "more than register a scheme"},
		{"blank", "device/device.go", "// Package device.\npackage device\n\nimport _ \"polder.dev/polder/device/fake\"\n", "for its effect"},
		{"generated", "device/gen.go", "// Code generated by x. DO NOT EDIT.\n\npackage device\n", "name it zz_generated"},
		{"generated", "device/zz_generated.x.go", "package device\n", "has no"},
		{"main", "cmd/polder/main.go", "// Command polder.\npackage main\n" + strings.Repeat("\n", 60), "the limit is under 60"},
		{"readme", "README.zh-CN.md", gone, "README.zh-CN.md is missing"},
		{"readme", "README.zh-CN.md", sound(t)["README.zh-CN.md"] + "\n### B\n", "the headings differ"},
		{"readme", "README.zh-CN.md", page("README.zh-CN.md", "make demo", "make test"), "code block 1 differs"},
		{"readme", "README.md", sound(t)["README.md"] + "```sh\nx\n```\n", "code blocks"},
		{"readme", "README.md", sound(t)["README.md"] + "[z](z.md)\n", "the links differ"},
		{"target", "docs/ops/run.md", "Say `make tea`.\n", "`make tea`"},
		{"target", "docs/ops/run.md", "```\nCI=1 make demo tea\n```\n", "`make tea`"},
		{"target", "Makefile", gone, "Makefile is missing"},
		{"map", "attic/notes.md", "x\n", "no line for `attic/`"},
		{"map", "ARCHITECTURE.md", sound(t)["ARCHITECTURE.md"] + "- `cellar/` dark\n", "`cellar/`, which does not exist"},
		{"map", "ARCHITECTURE.md", gone, "ARCHITECTURE.md is missing"},
		{"link", "docs/ops/run.md", "[x](walk.md)\n", "links to walk.md"},
		{"path", "docs/ops/run.md", "cd /home/" + "jo/polder\n", "a path of one machine"},
		{"path", "bench/result.json", `{"dir": "/work` + `/x"}`, "a path of one machine"},
		{"path", "Makefile", "demo:\n\tcp ../" + "../shared/x .\n", "a path of one machine"},
		{"secret", "docs/key.pem", "-----BEGIN EC " + "PRIVATE KEY-----\n" + letters + "\n", "docs/key.pem:1 holds a private key"},
		{"secret", "device/testdata/a.yaml", "a: 1\nclient-key-data: " + letters, "a.yaml:2 holds a client key"},
		{"secret", "device/x.txt", "token=gh" + "p_" + letters, "a GitHub token"},
		{"secret", "device/x.txt", "AKIA" + "ABCDEFGHIJKLMNOP", "an AWS key"},
		{"secret", "device/x.txt", "h" + "f_" + letters[:34], "a Hugging Face token"},
		{"secret", "device/x.txt", "ey" + "J" + letters + ".ey" + "J" + letters + "." + letters, "a JSON web token"},
		{"agents", "AGENTS.md", strings.Repeat("x\n", 100), "AGENTS.md has 100 lines"},
		{"config", "docs/formats/config.md", "| `kind` | string | | |\n", "no row for the field `logs.files`"},
		{"config", "docs/formats/config.md", sound(t)["docs/formats/config.md"] + "| `logs.size` | integer | | |\n", "a row for `logs.size`"},
		{"conformance", "docs/conformance.md", page("docs/conformance.md", "| `robust_controller`", "| `robust`"), "0 rows for `robust_controller`"},
		{"conformance", "docs/conformance.md", page("docs/conformance.md", "MUST | open", "SHOULD | open"), "is a MUST"},
		{"conformance", "docs/conformance.md", page("docs/conformance.md", "open", "done"), `has state "done"`},
		{"conformance", "docs/conformance.md", holds("trust us"), "names no test"},
		{"conformance", "docs/conformance.md", holds("`test/e2e: TestGang`"), "`test/e2e: TestGang`, which does not exist"},
		{"clients", "docs/conformance-store.md", "| `curl` | holds | `test/e2e: TestCurl` |\n", "`test/e2e: TestCurl`, which does not exist"},
		{"clients", "docs/conformance-store.md", "| `curl` | passes | x |\n", `has state "passes"`},
	}
	bitten := map[string]bool{}
	for _, c := range cases {
		bitten[c.rule] = true
		t.Run(c.rule+"/"+c.want, func(t *testing.T) {
			files := sound(t)
			files[c.path] = c.text
			if c.text == gone {
				delete(files, c.path)
			}
			i := slices.IndexFunc(rules, func(r rule) bool { return r.name == c.rule })
			if i < 0 {
				t.Fatalf("no rule %q", c.rule)
			}
			got := rules[i].check(house(t, files))
			if len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Errorf("got %q, want one problem with %q", got, c.want)
			}
		})
	}
	for _, r := range rules {
		if !bitten[r.name] {
			t.Errorf("rule %s has no case that breaks it", r.name)
		}
	}
}

func TestSoundEvidenceHolds(t *testing.T) {
	files := sound(t)
	files["docs/conformance.md"] = strings.Replace(files["docs/conformance.md"],
		"| `gang_scheduling` | MUST | open | later | |", "| `gang_scheduling` | MUST | holds | | `test/e2e: TestUp` |", 1)
	if got := checkConformance(house(t, files)); len(got) > 0 {
		t.Errorf("got %q, want no problem", got)
	}
}

func TestBeforeThereIsAProgramPagesMayBeMissing(t *testing.T) {
	files := sound(t)
	for _, p := range []string{"cmd/polder/main.go", "README.md", "README.zh-CN.md", "Makefile", "ARCHITECTURE.md", "AGENTS.md", "docs/conformance.md"} {
		delete(files, p)
	}
	tr := house(t, files)
	for _, r := range rules {
		for _, p := range r.check(tr) {
			t.Errorf("%s: %s", r.name, p)
		}
	}
}

func TestSizeAsks(t *testing.T) {
	files := sound(t)
	files["device/long.go"] = "package device\n\nfunc long() {\n" + strings.Repeat("\n", 700) + "}\n"
	got := askSize(house(t, files))
	if len(got) != 2 {
		t.Errorf("got %q, want one line for the file and one for the function", got)
	}
}

func TestLinkedListsOthersPackagesOnly(t *testing.T) {
	got, err := linked("./api/v1alpha1")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(got, "k8s.io/api/core/v1") || slices.Contains(got, "fmt") || slices.Contains(got, module+"/api/v1alpha1") {
		t.Errorf("got %q, want k8s.io/api/core/v1, and neither Go's own packages nor ours", got)
	}
}

func TestDiffer(t *testing.T) {
	got := differ([]string{"a", "b"}, []string{"b", "c"})
	want := []string{"c is linked", "a is in"}
	for i, w := range want {
		if len(got) != len(want) || !strings.HasPrefix(got[i], w) {
			t.Fatalf("got %q, want one line for each of %q", got, want)
		}
	}
}

// TestTableIsWhole holds the import table to itself: every kind it names exists,
// and every row gives a reason.
func TestTableIsWhole(t *testing.T) {
	kinds := map[string]bool{}
	for _, r := range rows {
		if kinds[r.kind] {
			t.Errorf("kind %s has two rows", r.kind)
		}
		kinds[r.kind] = true
	}
	for _, r := range rows {
		if r.why == "" || len(r.rooms) == 0 {
			t.Errorf("kind %s has no reason or no room", r.kind)
		}
		for _, m := range r.may {
			if !kinds[m] {
				t.Errorf("kind %s may import %s, which is none of %v", r.kind, m, slices.Sorted(maps.Keys(kinds)))
			}
		}
	}
	for _, l := range libraries {
		if l.why == "" || len(l.paths) == 0 {
			t.Errorf("library row %v has no reason or no path", l.paths)
		}
	}
}
