package polder_test

import (
	"fmt"
	"slices"
	"strings"
)

// row says which of our rooms one kind of room may import. A room may always
// import itself and the root packages above it. The first row that fits holds.
type row struct {
	kind  string
	rooms []string // patterns, see under
	may   []string // kinds
	why   string
}

var (
	pure    = []string{"device", "sched", "storage", "model", "artifact", "policy", "supply"}
	ground  = []string{"api", "internal"}
	anybody = slices.Concat(pure, ground, []string{"kube", "layout", "component", "edge", "controller", "work", "runtimes", "recipes", "examples", "console", "cli", "transfer"})
)

// testsMay says which more kinds the tests of one kind of room may import: a client is
// proved against the server it is for, and does not link it; a test from outside has small
// models, and speaks a protocol of the house.
var testsMay = map[string][]string{"transfer": {"storage"}, "cli": {"storage"}, "test": {"model"}}

var rows = []row{
	{"api", []string{"api"}, nil,
		"api is the language everybody speaks; it knows nobody"},
	{"kube", []string{"internal/kube", "internal/kubetest"}, ground,
		"clients of Kubernetes are made in one place, which pure rooms cannot reach"},
	{"internal", []string{"internal"}, ground,
		"plumbing knows no domain"},
	{"layout", []string{"system/layout"}, ground,
		"where things lie is agreed on by everybody, so it can depend on nobody"},
	{"component", []string{"system/component"}, ground,
		"supervision knows no part by name"},
	{"edge", []string{"controlplane/*", "node/*", "device/dra", "sched/plugin"}, slices.Concat(pure, ground, []string{"kube", "layout"}),
		"edges own a process's globals and one heavy library each; only system joins them"},
	{"controller", []string{"*/controller", "policy/tenant", "workload/*", "mcp/*", "gateway/*", "controlplane", "node", "mcp", "gateway"}, slices.Concat(pure, ground, []string{"kube", "layout", "work"}),
		"controllers meet through API objects: one writes an object, the other sees it"},
	{"work", []string{"workload"}, slices.Concat(pure, ground),
		"what work needs of a node and of the store is told alike by all who run some"},
	{"device", []string{"device"}, ground,
		"what an accelerator is must be readable and testable without a cluster"},
	{"transfer", []string{"storage/transfer"}, ground,
		"a client of the store speaks S3 to any server, and brings none of ours with it"},
	{"copier", []string{"storage/fetch", "tools/fetch"}, slices.Concat(ground, []string{"storage", "transfer", "copier"}),
		"it runs in pods beside workers, and is a client of the store like any other"},
	{"storage", []string{"storage"}, ground,
		"the store also runs alone, without Kubernetes"},
	{"policy", []string{"policy"}, ground,
		"a decision is a pure function of its request"},
	{"supply", []string{"supply"}, ground,
		"what we are made of is known without running it"},
	{"sched", []string{"sched"}, slices.Concat(ground, []string{"device"}),
		"decisions are functions of a snapshot, so that the simulator and the scheduler share them"},
	{"artifact", []string{"model/registry", "model/pack", "model/image"}, slices.Concat(ground, []string{"storage", "artifact"}),
		"artifacts are bytes by digest; clients read them without knowing what a model means"},
	{"model", []string{"model"}, slices.Concat(ground, []string{"storage", "artifact"}),
		"a model's life is told by name and digest, without those who train or serve it"},
	{"runtimes", []string{"runtimes"}, slices.Concat(ground, []string{"artifact", "supply"}),
		"a recipe becomes an image and its bill of materials, nothing else"},
	{"examples", []string{"examples"}, nil,
		"an example is files that people read; the program carries them, and runs none"},
	{"recipes", []string{"recipes"}, nil,
		"a recipe is a program that is carried to where it runs, and read by people"},
	{"cli", []string{"cli"}, slices.Concat(ground, []string{"kube", "layout", "artifact", "model", "runtimes", "recipes", "examples", "device", "sched", "transfer"}),
		"the command line is a client like any other and has no back door; what a machine has, it reads as anybody may, where work would go and what an evaluation says are pure functions, and objects move over S3"},
	{"console", []string{"console"}, slices.Concat(ground, []string{"kube", "artifact"}),
		"the console is a client like any other and has no back door"},
	{"test", []string{"test"}, slices.Concat(ground, []string{"kube", "layout", "artifact", "model"}),
		"tests from outside drive the binary and the API, or they prove something else; what models are asked and say, they write and read as any client does"},
	{"bench", []string{"bench"}, slices.Concat(pure, ground, []string{"kube", "layout", "runtimes", "recipes", "controller"}),
		"a number is measured on what users run, on a pure room, or on one controller that is run without the others"},
	{"onnx", []string{"tools/onnx"}, slices.Concat(ground, []string{"model"}),
		"it runs models in pods, for services and evaluations, and shares with the cloud what is said to them and how answers are judged"},
	{"registry", []string{"tools/registry"}, slices.Concat(ground, []string{"storage"}),
		"the registry moves blobs as its clients do, may keep them in the store as a client of that, and shares nothing else with the cloud"},
	{"tool", []string{"tools"}, []string{"api"},
		"tools build the house and are no part of it"},
	{"cmd", []string{"cmd"}, []string{"system", "cli"},
		"a program is a door: the wiring is in system, the verbs in cli"},
	{"system", []string{"system"}, anybody,
		"system is the only place that knows everybody"},
}

// place returns the row that holds for the package in dir, and the room it is in.
func place(dir string) (*row, string) {
	for i, r := range rows {
		for _, pat := range r.rooms {
			if room, ok := bind(dir, pat); ok {
				return &rows[i], room
			}
		}
	}
	return nil, ""
}

func checkImport(t *tree) []string {
	var out []string
	for _, p := range t.pkgs {
		from, room := place(p.dir)
		if from == nil {
			if p.dir != "." {
				out = append(out, fmt.Sprintf("%s is in no row of the import table; give its room a row in house_import_test.go, with a reason", p.dir))
			}
			continue
		}
		for _, f := range p.files {
			for _, imp := range f.imports() {
				dir, ours := strings.CutPrefix(imp.path, module+"/")
				if !ours || dir == p.dir || strings.HasPrefix(p.dir, dir+"/") {
					continue
				}
				to, toRoom := place(dir)
				if to == from && toRoom == room || to != nil && slices.Contains(from.may, to.kind) {
					continue
				}
				if f.test && to != nil && slices.Contains(testsMay[from.kind], to.kind) {
					continue
				}
				out = append(out, fmt.Sprintf("%s imports %s: a room of kind %q may import only %s: %s", f.path, dir, from.kind, words(from.may), from.why))
			}
		}
	}
	return out
}

func words(s []string) string {
	if len(s) == 0 {
		return "nothing of ours"
	}
	return strings.Join(s, ", ")
}

// library says in which rooms a foreign library may be linked.
type library struct {
	paths  []string // import paths, each with all below it
	except []string // of those, what is light
	rooms  []string // patterns, see under
	why    string
}

// policyEngine is what the API server evaluates admission policies with. A test
// that links it weighs half of what one with the server does (1.3 GB to link).
var policyEngine = []string{"k8s.io/apiserver/pkg/admission", "k8s.io/apiserver/pkg/apis/cel", "k8s.io/apiserver/pkg/cel"}

var libraries = []library{
	{
		paths:  []string{"k8s.io/kubernetes", "k8s.io/apiserver", "k8s.io/kube-aggregator", "k8s.io/kube-controller-manager", "k8s.io/kube-proxy", "k8s.io/cloud-provider", "k8s.io/component-base/cli"},
		except: policyEngine,
		rooms:  []string{"controlplane/*", "node/*", "sched/plugin"},
		why:    "linking it takes gigabytes and seconds, and its flags and gates are globals of the process",
	}, {
		paths: policyEngine,
		rooms: []string{"controlplane/*", "node/*", "system/bootstrap", "device/dra"},
		why:   "what evaluates CEL is there to prove the policies that bootstrap writes, and the claims that device/claim compiles",
	}, {
		paths: []string{"k8s.io/kube-scheduler"},
		rooms: []string{"controlplane/scheduler", "sched/plugin"},
		why:   "decisions are pure functions; only a thin shim knows the scheduler's framework",
	}, {
		paths: []string{"go.etcd.io/etcd"},
		rooms: []string{"controlplane/etcd"},
		why:   "nobody but the API server speaks to etcd",
	}, {
		paths: []string{"github.com/cockroachdb"},
		rooms: []string{"storage/disk/index"},
		why:   "a disk's index is an ordered map to everybody else, so that it can be another one",
	}, {
		paths: []string{"github.com/containerd"},
		rooms: []string{"node/*"},
		why:   "only the node knows how containers are run",
	}, {
		paths: []string{"gvisor.dev/gvisor"},
		rooms: []string{"node/gvisor"},
		why:   "the sandbox is a program beside ours; one room knows how to ask it",
	}, {
		paths: []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime", "sigs.k8s.io/sig-storage-lib-external-provisioner", "k8s.io/apiextensions-apiserver", "k8s.io/dynamic-resource-allocation"},
		rooms: []string{"internal/kube", "internal/kubetest", "system", "controlplane", "node", "workload", "mcp", "gateway", "policy/tenant", "*/controller", "device/dra", "sched/plugin", "test", "bench"},
		why:   "a client of Kubernetes brings 300 packages into every test that links it; clients get theirs from internal/kube, domains have a controller",
	}, {
		paths:  []string{"k8s.io"},
		except: []string{"k8s.io/api", "k8s.io/apimachinery", "k8s.io/utils"},
		rooms:  []string{"internal", "system", "controlplane", "node", "workload", "mcp", "gateway", "policy/tenant", "*/controller", "device/dra", "sched/plugin", "test", "bench", "cli", "console", "examples"},
		why:    "Kubernetes is an edge, not the foundation: what a thing is, is said in plain Go",
	}, {
		paths: []string{"k8s.io/klog"},
		rooms: []string{"internal/logs", "system", "controlplane", "node"},
		why:   "we log with log/slog; one bridge carries upstream's lines",
	}, {
		paths: []string{"github.com/spf13/cobra", "github.com/spf13/pflag"},
		rooms: []string{"cmd", "cli", "system", "controlplane", "node"},
		why:   "flags are for finding the configuration; rooms are given structs",
	}, {
		paths: []string{"github.com/stretchr/testify", "github.com/onsi"},
		why:   "tests are standard testing and go-cmp",
	}, {
		paths: []string{"github.com/sirupsen/logrus", "go.uber.org/zap", "github.com/golang/glog"},
		why:   "we log with log/slog",
	}, {
		paths: []string{"github.com/spf13/viper", "github.com/pkg/errors"},
		why:   "one strict struct is the configuration, and fmt.Errorf with %w says what we were doing",
	}, {
		paths: []string{"C"},
		why:   "the program is static and cross-built; libraries of vendors are loaded when present, not linked",
	},
}

func checkLibrary(t *tree) []string {
	var out []string
	for _, p := range t.pkgs {
		if p.foreign {
			continue // a tool's module is its own business
		}
		for _, f := range p.files {
			for _, imp := range f.imports() {
				if why := refused(p.dir, f, imp.path); why != "" {
					out = append(out, fmt.Sprintf("%s imports %s: %s", f.path, imp.path, why))
				}
			}
		}
	}
	return out
}

// refused says why package dir may not import lib in f, or "". Tests that are
// run only with a build tag may use clients: they do not weigh on `go test ./...`.
func refused(dir string, f *file, lib string) string {
	below := func(p string) bool { return under(lib, p) }
	for _, l := range libraries {
		if !slices.ContainsFunc(l.paths, below) || slices.ContainsFunc(l.except, below) {
			continue
		}
		if slices.ContainsFunc(l.rooms, func(r string) bool { return under(dir, r) }) {
			continue
		}
		if f.test && f.tagged && slices.Contains(l.rooms, "test") {
			continue
		}
		where := "nowhere"
		if len(l.rooms) > 0 {
			where = "only in " + strings.Join(l.rooms, ", ")
		}
		return fmt.Sprintf("it may be imported %s: %s", where, l.why)
	}
	return ""
}

func checkAPI(t *tree) []string {
	var out []string
	for _, p := range t.pkgs {
		if !under(p.dir, "api") {
			continue
		}
		for _, f := range p.files {
			for _, imp := range f.imports() {
				first, _, _ := strings.Cut(imp.path, "/")
				standard := !strings.Contains(first, ".")
				if f.test || standard || under(imp.path, module) || under(imp.path, "k8s.io/api") || under(imp.path, "k8s.io/apimachinery") {
					continue
				}
				out = append(out, fmt.Sprintf("%s imports %s; api may import only k8s.io/api and k8s.io/apimachinery", f.path, imp.path))
			}
		}
	}
	return out
}
