package polder_test

import (
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "polder.dev/polder"

// platform tags say where a file is built, not whether one asked for it.
var platform = []string{"linux", "unix", "amd64", "arm64"}

// tree is the repository as the rules see it: every Go file parsed, whatever its
// build constraints, and every other file by name.
type tree struct {
	fsys  fs.FS
	fset  *token.FileSet
	paths []string // all files, sorted
	pkgs  []*pkg   // sorted by dir; testdata is not code
}

// pkg is a directory with Go files.
type pkg struct {
	dir     string // "." is the root
	foreign bool   // lies in a module of its own
	files   []*file
}

type file struct {
	path      string
	test      bool // _test.go
	tagged    bool // built only when asked for by a tag, such as e2e or kube
	generated bool
	lines     int
	ast       *ast.File
}

// load reads fsys, but not what .gitignore names as a directory of the root, nor
// hidden directories other than those of continuous integration.
func load(fsys fs.FS) (*tree, error) {
	t := &tree{fsys: fsys, fset: token.NewFileSet()}
	skip := ignored(fsys)
	modules := map[string]bool{}
	byDir := map[string]*pkg{}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(p)
		if d.IsDir() {
			hidden := strings.HasPrefix(base, ".") && p != "." && base != ".ci" && base != ".github"
			if hidden || base == "node_modules" || slices.Contains(skip, p) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		t.paths = append(t.paths, p)
		dir := path.Dir(p)
		if base == "go.mod" && dir != "." {
			modules[dir] = true
		}
		if !strings.HasSuffix(base, ".go") || strings.Contains("/"+p, "/testdata/") {
			return nil
		}
		if byDir[dir] == nil {
			byDir[dir] = &pkg{dir: dir}
			t.pkgs = append(t.pkgs, byDir[dir])
		}
		f, err := t.parse(p)
		if err != nil {
			return err
		}
		byDir[dir].files = append(byDir[dir].files, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the tree: %w", err)
	}
	slices.SortFunc(t.pkgs, func(a, b *pkg) int { return strings.Compare(a.dir, b.dir) })
	for _, p := range t.pkgs {
		for m := range modules {
			p.foreign = p.foreign || p.dir == m || strings.HasPrefix(p.dir, m+"/")
		}
	}
	return t, nil
}

func ignored(fsys fs.FS) []string {
	var out []string
	b, _ := fs.ReadFile(fsys, ".gitignore") // none ignores nothing
	for l := range strings.Lines(string(b)) {
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "/") && strings.HasSuffix(l, "/") {
			out = append(out, strings.Trim(l, "/"))
		}
	}
	return out
}

func (t *tree) parse(p string) (*file, error) {
	b, err := fs.ReadFile(t.fsys, p)
	if err != nil {
		return nil, err
	}
	a, err := parser.ParseFile(t.fset, p, b, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &file{path: p, test: strings.HasSuffix(p, "_test.go"), ast: a, generated: ast.IsGenerated(a)}
	f.lines = t.fset.File(a.Pos()).LineCount()
	for _, g := range a.Comments {
		if g.Pos() > a.Package {
			break
		}
		for _, c := range g.List {
			if e, err := constraint.Parse(c.Text); err == nil {
				f.tagged = !e.Eval(func(tag string) bool { return slices.Contains(platform, tag) })
			}
		}
	}
	return f, nil
}

// read returns a file's text, or "" where there is no such file.
func (t *tree) read(p string) string {
	b, _ := fs.ReadFile(t.fsys, p)
	return string(b)
}

func (t *tree) has(p string) bool {
	_, err := fs.Stat(t.fsys, p)
	return err == nil
}

func (t *tree) pkg(dir string) *pkg {
	i := slices.IndexFunc(t.pkgs, func(p *pkg) bool { return p.dir == dir })
	if i < 0 {
		return nil
	}
	return t.pkgs[i]
}

// stands reports whether there is a program to write pages about. Until then
// the pages may be missing; from then on they may not.
func (t *tree) stands() bool { return t.pkg("cmd/polder") != nil }

// imports lists the file's imports: path and local name, "" where none is given.
func (f *file) imports() []struct{ path, name string } {
	var out []struct{ path, name string }
	for _, s := range f.ast.Imports {
		p, _ := strconv.Unquote(s.Path.Value)
		name := ""
		if s.Name != nil {
			name = s.Name.Name
		}
		out = append(out, struct{ path, name string }{p, name})
	}
	return out
}

// under reports whether path p is, or lies below, the room that pattern names; a
// * in it stands for any one element.
func under(p, pattern string) bool {
	_, ok := bind(p, pattern)
	return ok
}

// bind returns the room that pattern names on the way to p.
func bind(p, pattern string) (string, bool) {
	ps, qs := strings.Split(p, "/"), strings.Split(pattern, "/")
	if len(qs) > len(ps) {
		return "", false
	}
	for i, q := range qs {
		if q != "*" && q != ps[i] {
			return "", false
		}
	}
	return strings.Join(ps[:len(qs)], "/"), true
}
