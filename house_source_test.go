package polder_test

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
)

func checkDoc(t *tree) []string {
	var out []string
	for _, p := range t.pkgs {
		var docs []string
		first := ""
		for _, f := range p.files {
			external := strings.HasSuffix(f.ast.Name.Name, "_test")
			if f.ast.Doc == nil || external && p.hasCode() {
				continue
			}
			docs = append(docs, f.path)
			first = f.ast.Doc.Text()
			want := "Package " + strings.TrimSuffix(f.ast.Name.Name, "_test") + " "
			if f.ast.Name.Name == "main" {
				want = "Command " + path.Base(p.dir) + " "
				if p.foreign {
					want = "Command " // a tool's directory need not bear its name
				}
			}
			if !strings.HasPrefix(first, want) {
				out = append(out, fmt.Sprintf("%s: the package comment must begin with %q, not %q", f.path, want, line(first)))
			}
		}
		switch {
		case len(docs) == 0:
			out = append(out, fmt.Sprintf("%s has no package comment; say in one sentence what it is for, then who may import it and what it refuses", p.dir))
		case len(docs) > 1:
			out = append(out, fmt.Sprintf("%s has %d package comments (%s); keep one", p.dir, len(docs), strings.Join(docs, ", ")))
		case !strings.Contains(first, "."):
			out = append(out, fmt.Sprintf("%s: the package comment holds no sentence", docs[0]))
		}
	}
	return out
}

// hasCode reports whether p is more than tests.
func (p *pkg) hasCode() bool {
	return slices.ContainsFunc(p.files, func(f *file) bool { return !f.test })
}

func line(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

var (
	nounForm = regexp.MustCompile(`^[a-z][a-z0-9]{0,19}$`)
	vague    = []string{"util", "utils", "common", "misc", "base", "shared", "lib", "libs", "types", "interfaces", "manager", "helper", "helpers", "pkg", "impl"}
	vagueEnd = []string{"util", "utils", "helper", "helpers", "common"}
	// plurals that name a heap of like things, or are no plurals, or are vendors' names.
	plurals = []string{"logs", "runtimes", "recipes", "examples", "tools", "tls", "dns", "os", "fs", "sys", "metrics", "aws", "moorethreads", "rebellions"}
)

func checkName(t *tree) []string {
	var out []string
	for _, p := range t.pkgs {
		if p.dir == "." {
			continue
		}
		for _, e := range strings.Split(p.dir, "/") {
			if slices.Contains(vague, e) || slices.ContainsFunc(vagueEnd, func(s string) bool { return strings.HasSuffix(e, s) }) {
				out = append(out, fmt.Sprintf("%s: %q says nothing; name the directory for the noun it is about", p.dir, e))
			}
		}
		base := path.Base(p.dir)
		for _, f := range p.files {
			name := f.ast.Name.Name
			if f.test {
				name = strings.TrimSuffix(name, "_test")
			}
			if name == "main" {
				continue
			}
			if name != base {
				out = append(out, fmt.Sprintf("%s: package %s does not match its directory %s", f.path, name, base))
				break
			}
			if why := noNoun(name); why != "" {
				out = append(out, fmt.Sprintf("%s: package name %q %s", p.dir, name, why))
				break
			}
		}
	}
	return out
}

// noNoun says what is wrong with a package name, or "".
func noNoun(name string) string {
	if !nounForm.MatchString(name) {
		return "must be one word of at most 20 lower-case letters and digits"
	}
	for _, end := range []string{"ss", "us", "is", "as"} {
		if strings.HasSuffix(name, end) {
			return ""
		}
	}
	if strings.HasSuffix(name, "s") && !slices.Contains(plurals, name) {
		return "is a plural; use the singular"
	}
	return ""
}

// programs are the rooms where a package main may live.
var programs = []string{"cmd/*", "tools", "examples", "bench", "runtimes", "test"}

func checkProgram(t *tree) []string {
	var out []string
	for _, p := range t.pkgs {
		in := slices.ContainsFunc(programs, func(r string) bool { return under(p.dir, r) })
		if !in && !p.foreign && p.files[0].ast.Name.Name == "main" {
			out = append(out, fmt.Sprintf("%s is a program; programs live in %s or in a module of their own", p.dir, strings.Join(programs, ", ")))
		}
	}
	return out
}

func checkInit(t *tree) []string {
	var out []string
	for _, p := range t.pkgs {
		for _, f := range p.files {
			for _, d := range f.ast.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if ok && !f.generated && fn.Recv == nil && fn.Name.Name == "init" && !registersScheme(fn) {
					out = append(out, fmt.Sprintf("%s has an init that does more than register a scheme; do it in New, or in a list somebody calls", t.fset.Position(fn.Pos())))
				}
			}
		}
	}
	return out
}

// registersScheme reports whether each statement of fn calls AddToScheme,
// AddToGroupVersion or SchemeBuilder.Register.
func registersScheme(fn *ast.FuncDecl) bool {
	for _, s := range fn.Body.List {
		found := false
		ast.Inspect(s, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, _ := sel.X.(*ast.Ident)
			found = found || sel.Sel.Name == "AddToScheme" || sel.Sel.Name == "AddToGroupVersion" ||
				sel.Sel.Name == "Register" && x != nil && x.Name == "SchemeBuilder"
			return true
		})
		if !found {
			return false
		}
	}
	return len(fn.Body.List) > 0
}

func checkBlank(t *tree) []string {
	var out []string
	for _, p := range t.pkgs {
		r, _ := place(p.dir)
		if p.foreign || r != nil && (r.kind == "edge" || r.kind == "cmd") {
			continue
		}
		for _, f := range p.files {
			for _, imp := range f.imports() {
				if imp.name == "_" && imp.path != "embed" {
					out = append(out, fmt.Sprintf("%s imports %s for its effect; only edges and cmd may", f.path, imp.path))
				}
			}
		}
	}
	return out
}

func checkGenerated(t *tree) []string {
	var out []string
	for _, p := range t.pkgs {
		for _, f := range p.files {
			named := strings.HasPrefix(path.Base(f.path), "zz_generated")
			if f.generated && !named {
				out = append(out, fmt.Sprintf("%s is generated; name it zz_generated.<what>.go", f.path))
			}
			if named && !f.generated {
				out = append(out, fmt.Sprintf("%s is named as generated but has no %q line", f.path, "// Code generated ... DO NOT EDIT."))
			}
		}
	}
	return out
}

const mainLinesMax = 60

func checkMain(t *tree) []string {
	var out []string
	for _, p := range t.pkgs {
		for _, f := range p.files {
			if under(p.dir, "cmd/*") && path.Base(f.path) == "main.go" && f.lines >= mainLinesMax {
				out = append(out, fmt.Sprintf("%s has %d lines, the limit is under %d; move the wiring to system and the verbs to cli", f.path, f.lines, mainLinesMax))
			}
		}
	}
	return out
}

const (
	fileLinesAim     = 600
	functionLinesAim = 80
)

// askSize lists what is past the aims of files and functions.
func askSize(t *tree) []string {
	var out []string
	for _, p := range t.pkgs {
		for _, f := range p.files {
			if f.generated {
				continue
			}
			if f.lines > fileLinesAim {
				out = append(out, fmt.Sprintf("%s: %d lines", f.path, f.lines))
			}
			for _, d := range f.ast.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || f.test {
					continue
				}
				at := t.fset.Position(fn.Pos())
				if n := t.fset.Position(fn.End()).Line - at.Line + 1; n > functionLinesAim {
					out = append(out, fmt.Sprintf("%s: %s has %d lines", at, fn.Name.Name, n))
				}
			}
		}
	}
	return out
}
