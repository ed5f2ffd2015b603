package model

import (
	"strings"
	"testing"

	"polder.dev/polder/api/v1alpha1"
)

var (
	digestA = "sha256:" + strings.Repeat("a", 64)
	digestB = "sha256:" + strings.Repeat("b", 64)
	digestC = "sha256:" + strings.Repeat("c", 64)
)

func TestNamesAndWhatTheyFind(t *testing.T) {
	m := &v1alpha1.Model{Spec: v1alpha1.ModelSpec{Digest: digestB, Reference: "b", Lineage: v1alpha1.Lineage{Job: "j"}}}
	m.Status.Versions = []v1alpha1.ModelVersion{{Digest: digestA, Reference: "a"}}
	m.Status.Aliases = []v1alpha1.ModelAliasStatus{{Name: "production", Digest: digestA}, {Name: "lost", Digest: digestC}}
	for text, want := range map[string]string{ // digest, or what the error says
		"ocr": digestB, "ocr@production": digestA, "ocr@" + digestA: digestA, "ocr@" + digestB: digestB,
		"ocr@staging": "has no alias staging: it has production, lost", "ocr@" + digestC: "has no version " + digestC, "ocr@lost": "has no version",
		"": "names no model", "OCR": "names no model", "ocr@": "an alias", "ocr@sha256:1": "an alias", "ocr@a@b": "an alias", "-x": "names no model",
	} {
		n, err := ParseName(text)
		if err == nil && n.String() != text {
			t.Errorf("%q is written %q", text, n)
		}
		v := v1alpha1.ModelVersion{}
		if err == nil {
			v, err = n.Find(m)
		}
		if err != nil && (strings.HasPrefix(want, "sha256") || !strings.Contains(err.Error(), want)) || err == nil && v.Digest != want {
			t.Errorf("%s: %s, %v; want %q", text, v.Digest, err, want)
		}
	}
	if v, err := (Name{Model: "ocr"}).Find(m); err != nil || v.Job != "j" {
		t.Errorf("what is not recorded yet: %+v, %v", v, err)
	}
}

func TestLicenceAllowed(t *testing.T) {
	list := []string{"Apache-2.0", "MIT", "GPL-2.0-only WITH  Classpath-exception-2.0", "(MIT OR ISC)"}
	for licence, want := range map[string]bool{
		"MIT": true, "mit": true, "MIT OR Proprietary": true, "Proprietary or MIT": true, "MIT AND Apache-2.0": true, "(MIT OR  ISC)": true,
		"GPL-2.0-only WITH Classpath-exception-2.0": true, "Proprietary AND MIT OR Apache-2.0": true,
		"": false, "GPL-3.0-only": false, "MIT AND Proprietary": false, "MIT AND": false, "OR": false, "(MIT)": false, "MIT OR": true, "MITX": false,
	} {
		if got := LicenceAllowed(licence, list); got != want {
			t.Errorf("%q: %v", licence, got)
		}
	}
	if LicenceAllowed("", []string{""}) {
		t.Error("no licence is allowed by an empty one")
	}
}

func TestCheckLicence(t *testing.T) {
	for _, good := range []string{"MIT", "Apache-2.0", "GPL-2.0+", "MIT OR Apache-2.0", "(MIT or Apache-2.0) AND CC-BY-4.0", "GPL-2.0-only WITH Classpath-exception-2.0", "LicenseRef-house-rules", "DocumentRef-x:LicenseRef-y"} {
		if err := CheckLicence(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", " ", "Foo Bar", "MIT OR", "AND MIT", "(MIT", "MIT)", "()", "MIT, Apache-2.0", "größe", "MIT (Apache-2.0)", "MIT AND OR MIT"} {
		if err := CheckLicence(bad); err == nil || !strings.Contains(err.Error(), "SPDX expression") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
