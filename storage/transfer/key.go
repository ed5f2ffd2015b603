package transfer

import (
	"errors"
	"fmt"
	"hash/maphash"
	"path/filepath"
	"strings"
	"unicode"
)

// ErrRefused says that a name from the store has no place in the tree it was for.
var ErrRefused = errors.New("refused")

const partialEnd = ".polder-part"

// localName says where the object rel, a key below the prefix that is copied, lies in
// a tree, with slashes. A key that is no clean path below the tree is refused: it would
// leave the tree, or take another key's place.
func localName(rel string) (string, error) {
	why := ""
	switch {
	case rel == "":
		why = "its name is empty"
	case strings.Contains(rel, "\x00"):
		why = "it holds a zero byte"
	case strings.HasPrefix(rel, "/"):
		why = "it begins with a slash"
	case strings.HasSuffix(rel, "/"):
		why = "it ends with a slash, but holds data"
	}
	for _, e := range strings.Split(rel, "/") {
		switch {
		case why != "":
		case e == "":
			why = "it has an empty element"
		case e == "." || e == "..":
			why = "it has the element " + e
		case strings.HasSuffix(e, partialEnd):
			why = "names that end in " + partialEnd + " are those of unfinished downloads"
		}
	}
	if why == "" && !filepath.IsLocal(filepath.FromSlash(rel)) {
		why = "it is no path of this machine"
	}
	if why != "" {
		return "", fmt.Errorf("%w: key %s: %s", ErrRefused, Printable(rel), why)
	}
	return rel, nil
}

// names refuses keys that cannot lie in one tree together. It is asked in the order
// of the keys' bytes and remembers only those that the present key begins with; in a
// tree that does not tell cases apart, also a number for each.
type names struct {
	fold  bool
	above []string // each begins the next
	seed  maphash.Seed
	seen  map[uint64]struct{}
}

func newNames(fold bool) *names {
	return &names{fold: fold, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}}
}

// add returns where rel lies, or why it cannot.
func (n *names) add(rel string) (string, error) {
	name, err := localName(rel)
	if err != nil {
		return "", err
	}
	for len(n.above) > 0 && !strings.HasPrefix(rel, n.above[len(n.above)-1]) {
		n.above = n.above[:len(n.above)-1]
	}
	for _, a := range n.above {
		if strings.HasPrefix(rel[len(a):], "/") {
			return "", fmt.Errorf("%w: key %s: %s is a file", ErrRefused, Printable(rel), Printable(a))
		}
	}
	if n.fold {
		h := maphash.String(n.seed, foldCase(rel))
		if _, ok := n.seen[h]; ok {
			return "", fmt.Errorf("%w: key %s: another one differs from it only in case, and this file system does not tell them apart", ErrRefused, Printable(rel))
		}
		n.seen[h] = struct{}{}
	}
	n.above = append(n.above, rel)
	return name, nil
}

// foldCase maps names that a file system may take for one to the same text.
func foldCase(s string) string {
	return strings.Map(func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }, s)
}
