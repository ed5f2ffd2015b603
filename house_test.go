package polder_test

import (
	"os"
	"strings"
	"testing"
)

// rule is one structural promise of the house. Only structure is worth a failing
// test: what a person reads to find a room, and what keeps rooms apart.
type rule struct {
	name  string
	why   string
	check func(*tree) []string
}

// rules is the table of contents; house_*_test.go beside this file hold the
// checks, and house_self_test.go proves of each that it can fail.
var rules = []rule{
	{"doc", "a room's comment says what it is for and who may enter; a reader starts there", checkDoc},
	{"name", "a package is one short singular noun, the same as its directory; a vague name collects everything", checkName},
	{"program", "a program outside the places for programs hides in a library", checkProgram},
	{"import", "rooms depend in one direction, so that one can be read, tested and replaced alone", checkImport},
	{"library", "a heavy library at an edge costs one room; in the middle it costs every test", checkLibrary},
	{"api", "outsiders link api, so it may bring them nothing but Kubernetes' own types", checkAPI},
	{"init", "code that runs by being linked cannot be ordered, passed a logger or left out", checkInit},
	{"blank", "an import for its effect is an init in disguise; lists of parts are explicit", checkBlank},
	{"generated", "the name tells a reader and a linter that a file is not to be edited", checkGenerated},
	{"main", "main.go is a door; what is behind it can then be tested", checkMain},
	{"readme", "the two READMEs promise the same, in two languages", checkReadme},
	{"target", "a page that names a make target which does not exist stops its reader at the first step", checkTarget},
	{"map", "ARCHITECTURE.md has one line per room, and no line for a room that is gone", checkMap},
	{"link", "a link within the house leads somewhere", checkLink},
	{"path", "a page is read on other machines than the one it was written on", checkPath},
	{"secret", "what is recorded is public for ever", checkSecret},
	{"agents", "AGENTS.md is read whole before every change, so it stays under 100 lines", checkAgents},
	{"config", "a field that its page does not know cannot be found, and one it still knows is refused", checkConfig},
	{"conformance", "a requirement that `holds` is one that a test in this tree proves", checkConformance},
	{"clients", "a client or suite that the store's page says it passes is one that a test in this tree proves", checkClients},
}

func TestHouse(t *testing.T) {
	tr, err := load(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(tr.pkgs) == 0 {
		t.Fatal("no packages found; run this test in the root of the repository")
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, p := range r.check(tr) {
				t.Errorf("%s\n\tbecause: %s", p, r.why)
			}
		})
	}
	t.Run("size", func(t *testing.T) { // an aim, not a limit: it never fails
		if ask := askSize(tr); len(ask) > 0 {
			t.Logf("long; ask of each whether it is two things:\n\t%s", strings.Join(ask, "\n\t"))
		}
	})
}
