// Package recipe builds runtime images from Debian's packages: it reads recipes,
// runs mmdebstrap, and says exactly which packages came in. Clients import it. An
// image of the same packages is the same image, bit by bit: the lock beside the
// recipe names the versions, and no file is newer than the suite's release.
package recipe

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"polder.dev/polder/runtimes"
)

// Recipe is what an image is made of.
type Recipe struct {
	// Name of the Runtime and of the image.
	Name string `json:"-"`
	// Framework is its common name, and Package the one whose version is the
	// framework's; Version is it, where no package has it.
	Framework string `json:"framework"`
	Package   string `json:"package,omitempty"`
	Version   string `json:"version,omitempty"`
	// Software stack of the variant, such as cpu.
	Software string `json:"software"`
	// Suite of Debian, such as bookworm.
	Suite string `json:"suite"`
	// Packages to install, with what they depend on.
	Packages []string `json:"packages"`
	// Bare images hold the files of these and of what they depend on, and no more: no
	// shell, and nothing that a package's script would have done.
	Bare bool `json:"bare,omitempty"`
	// Programs of Polder that lie in the image, at ProgramDir: names of helper binaries.
	Programs []string `json:"programs,omitempty"`
	// Entrypoint of the image and its arguments; empty: none.
	Entrypoint []string `json:"entrypoint,omitempty"`
	// Exclude lists paths that are not unpacked: dpkg(1), --path-exclude.
	Exclude []string `json:"exclude,omitempty"`
	// Remove lists paths, with wildcards, that are removed at the end.
	Remove []string `json:"remove,omitempty"`
	// Env of the image.
	Env map[string]string `json:"env,omitempty"`
	// Lock is the version of each package the image was last recorded with.
	Lock map[string]string `json:"-"`

	text    []byte // what it was read from, lock included
	libexec string // where Programs were found
	brought []Program
}

// Digest changes when the recipe, its lock or its programs do. Bring comes first, where
// there are programs.
func (r *Recipe) Digest() string {
	h := sha256.New()
	h.Write(r.text)
	for _, p := range r.brought {
		fmt.Fprintf(h, "%s %s\n", p.SHA256, p.Name)
	}
	return fmt.Sprintf("sha256:%x", h.Sum(nil))
}

// Names lists the recipes there are.
func Names() []string {
	found, err := fs.Glob(runtimes.Files, "*/recipe.yaml")
	if err != nil {
		panic("recipe: " + err.Error()) // a pattern of ours is malformed
	}
	var names []string
	for _, f := range found {
		names = append(names, path.Dir(f))
	}
	return names
}

// Open reads the recipe called name.
func Open(name string) (*Recipe, error) {
	text, err := fs.ReadFile(runtimes.Files, path.Join(name, "recipe.yaml"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, fmt.Errorf("there is no recipe %q; known are %s", name, strings.Join(Names(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("reading recipe %s: %w", name, err)
	}
	r, err := parse(name, text)
	if err != nil {
		return nil, fmt.Errorf("recipe %s: %w", name, err)
	}
	lock, err := fs.ReadFile(runtimes.Files, path.Join(name, "lock-"+runtime.GOARCH+".txt"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading lock of %s: %w", name, err)
	}
	if r.Lock, err = parseLock(lock); err != nil {
		return nil, fmt.Errorf("lock of %s: %w", name, err)
	}
	r.text = slices.Concat(text, lock)
	return r, nil
}

var (
	packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`) // Debian policy, 5.6.7
	versionText = regexp.MustCompile(`^[A-Za-z0-9.+~:-]+$`)    // 5.6.12
	removable   = regexp.MustCompile(`^(/[A-Za-z0-9*_.+-]+)+$`)
	programName = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]*$`)
	variable    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	suiteName   = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
)

func parse(name string, text []byte) (*Recipe, error) {
	r := &Recipe{Name: name}
	if err := yaml.UnmarshalStrict(text, r); err != nil {
		return nil, err
	}
	if r.Framework == "" || r.Software == "" || !suiteName.MatchString(r.Suite) || len(r.Packages) == 0 {
		return nil, errors.New("framework, software, suite and packages must be given")
	}
	if (r.Package == "") == (r.Version == "") {
		return nil, errors.New("one of package and version must be given")
	}
	if r.Version != "" && !versionText.MatchString(r.Version) {
		return nil, fmt.Errorf("version: %q is no version", r.Version)
	}
	for _, p := range r.Programs {
		if !programName.MatchString(p) {
			return nil, fmt.Errorf("programs: %q is not the name of a helper binary", p)
		}
	}
	packages := slices.Clone(r.Packages)
	if r.Package != "" {
		packages = append(packages, r.Package)
	}
	for _, p := range packages {
		if !packageName.MatchString(p) {
			return nil, fmt.Errorf("%q is not the name of a package", p)
		}
	}
	for field, paths := range map[string][]string{"exclude": r.Exclude, "remove": r.Remove} {
		for _, p := range paths {
			if !removable.MatchString(p) || strings.Contains(p, "..") {
				return nil, fmt.Errorf("%s: %q is not an absolute path of letters, digits and *", field, p)
			}
		}
	}
	for name := range r.Env {
		if !variable.MatchString(name) {
			return nil, fmt.Errorf("env: %q is not the name of a variable", name)
		}
	}
	return r, nil
}

// parseLock reads lines of NAME=VERSION.
func parseLock(text []byte) (map[string]string, error) {
	out := map[string]string{}
	s := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, version, ok := strings.Cut(line, "=")
		if !ok || !packageName.MatchString(name) || !versionText.MatchString(version) {
			return nil, fmt.Errorf("line %d is not NAME=VERSION: %q", n, line)
		}
		out[name] = version
	}
	return out, s.Err()
}

// Package is one that was installed.
type Package struct {
	Name, Version, Architecture, Source string
}

// FormatLock is the lock of packages.
func FormatLock(packages []Package) []byte {
	var b bytes.Buffer
	for _, p := range packages {
		fmt.Fprintf(&b, "%s=%s\n", p.Name, p.Version)
	}
	return b.Bytes()
}

// Drift says, per package, how packages differ from the recipe's lock; it is nil
// when they do not, or when there is no lock.
func (r *Recipe) Drift(packages []Package) []string {
	if len(r.Lock) == 0 {
		return nil
	}
	var out []string
	left := maps.Clone(r.Lock)
	for _, p := range packages {
		want, locked := left[p.Name]
		delete(left, p.Name)
		if !locked {
			out = append(out, fmt.Sprintf("%s %s is new", p.Name, p.Version))
		} else if want != p.Version {
			out = append(out, fmt.Sprintf("%s %s instead of %s", p.Name, p.Version, want))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		out = append(out, name+" is gone")
	}
	return out
}

// parseStatus reads dpkg's list of installed packages: deb-control(5).
func parseStatus(text []byte) []Package {
	var out []Package
	for block := range strings.SplitSeq(string(text), "\n\n") {
		p := Package{}
		installed := false
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), ": ")
			switch key {
			case "Package":
				p.Name = value
			case "Version":
				p.Version = value
			case "Architecture":
				p.Architecture = value
			case "Source":
				p.Source, _, _ = strings.Cut(value, " ")
			case "Status":
				installed = value == "install ok installed"
			}
		}
		if installed && p.Name != "" {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Upstream is the version of the framework: that in its package's, such as 1.13.1 of
// 1.13.1+dfsg-4, or the recipe's own.
func (r *Recipe) Upstream(packages []Package) string {
	if r.Version != "" {
		return r.Version
	}
	for _, p := range packages {
		if p.Name != r.Package {
			continue
		}
		v := p.Version
		if _, rest, ok := strings.Cut(v, ":"); ok { // the epoch
			v = rest
		}
		if i := strings.IndexAny(v, "+~-"); i > 0 {
			v = v[:i]
		}
		return v
	}
	return ""
}
