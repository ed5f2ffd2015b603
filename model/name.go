package model

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"polder.dev/polder/api/v1alpha1"
)

// Name is how a version of a model is called: NAME is the one published last,
// NAME@ALIAS what an alias means, NAME@sha256:DIGEST always the same. At most one of
// Alias and Digest is set.
type Name struct {
	Model  string
	Alias  string
	Digest string
}

var (
	nameShape   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	aliasShape  = regexp.MustCompile(`^[a-z][-a-z0-9]{0,31}$`)
	digestShape = regexp.MustCompile(`^sha256:[a-f0-9]{64}$`)
)

// ParseName reads a Name.
func ParseName(text string) (Name, error) {
	name, at, has := strings.Cut(text, "@")
	n := Name{Model: name}
	switch {
	case !nameShape.MatchString(name):
		return Name{}, fmt.Errorf("%q names no model: write NAME, NAME@ALIAS or NAME@sha256:DIGEST, the name in lower-case letters, digits and '-'", text)
	case !has:
		return n, nil
	case digestShape.MatchString(at):
		n.Digest = at
	case aliasShape.MatchString(at):
		n.Alias = at
	default:
		return Name{}, fmt.Errorf("%q: after '@' comes an alias, such as production, or a digest, sha256: and 64 of 0-9 and a-f", text)
	}
	return n, nil
}

// String is what ParseName reads.
func (n Name) String() string {
	if at := n.Alias + n.Digest; at != "" {
		return n.Model + "@" + at
	}
	return n.Model
}

// Find returns the version of m that n calls. The error says what there is instead.
func (n Name) Find(m *v1alpha1.Model) (v1alpha1.ModelVersion, error) {
	want := m.Spec.Digest
	switch {
	case n.Digest != "":
		want = n.Digest
	case n.Alias != "":
		i := slices.IndexFunc(m.Status.Aliases, func(a v1alpha1.ModelAliasStatus) bool { return a.Name == n.Alias })
		if i < 0 {
			return v1alpha1.ModelVersion{}, fmt.Errorf("model %s has no alias %s: %s; `polder model promote %s %s` makes one",
				n.Model, n.Alias, aliases(m), n.Model, n.Alias)
		}
		want = m.Status.Aliases[i].Digest
	}
	for _, v := range m.Status.Versions {
		if v.Digest == want {
			return v, nil
		}
	}
	if want == m.Spec.Digest {
		return Latest(m), nil
	}
	return v1alpha1.ModelVersion{}, fmt.Errorf("model %s has no version %s; `polder model versions %s` lists those it has", n.Model, want, n.Model)
}

// Latest is the version that the spec of m holds, as it is recorded when it is seen.
func Latest(m *v1alpha1.Model) v1alpha1.ModelVersion {
	s := m.Spec
	return v1alpha1.ModelVersion{
		Digest: s.Digest, Reference: s.Reference, SizeBytes: s.SizeBytes, Framework: s.Framework, Licence: s.Licence,
		Metrics: s.Metrics, Job: s.Lineage.Job,
	}
}

func aliases(m *v1alpha1.Model) string {
	if len(m.Status.Aliases) == 0 {
		return "it has none"
	}
	var names []string
	for _, a := range m.Status.Aliases {
		names = append(names, a.Name)
	}
	return "it has " + strings.Join(names, ", ")
}
