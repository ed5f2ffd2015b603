package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/pack"
)

func digestOf(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// line is a model with three versions, of which production means b and has meant a and c.
func line() *v1alpha1.Model {
	m := &v1alpha1.Model{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "ocr", Generation: 3}}
	m.Spec = v1alpha1.ModelSpec{Digest: digestOf("c"), Reference: "models/lab/ocr@" + digestOf("c")}
	for _, d := range []string{"c", "b", "a"} {
		m.Status.Versions = append(m.Status.Versions, v1alpha1.ModelVersion{Digest: digestOf(d), Reference: "models/lab/ocr@" + digestOf(d), Job: "train-" + d})
	}
	m.Status.Aliases = []v1alpha1.ModelAliasStatus{{Name: "production", Digest: digestOf("b"), History: []v1alpha1.ModelAliasPast{{Digest: digestOf("a")}, {Digest: digestOf("c")}}}}
	m.Spec.Aliases = []v1alpha1.ModelAlias{{Name: "production", Digest: digestOf("b")}}
	return m
}

func TestWhatAnAliasMeantEarlier(t *testing.T) {
	for _, tc := range []struct{ alias, to, want, says string }{
		{"production", "", "a", ""}, {"production", "sha256:cc", "c", ""}, {"production", "cccccc", "c", ""}, {"production", digestOf("a"), "a", ""},
		{"production", digestOf("b"), "", "has not meant"}, {"production", digestOf("a") + "x", "", "has not meant"}, {"staging", "", "", "has no alias staging"},
	} {
		got, err := meantBefore(line(), tc.alias, tc.to)
		if tc.says == "" && (err != nil || got != digestOf(tc.want)) || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%s to %q: %s, %v", tc.alias, tc.to, got, err)
		}
	}
	m := line()
	m.Status.Aliases[0].History = nil
	if _, err := meantBefore(m, "production", ""); err == nil || !strings.Contains(err.Error(), "has meant no other version before") {
		t.Error(err)
	}
}

func TestDigestsAreCompleted(t *testing.T) {
	m := line()
	for text, want := range map[string]string{
		"ocr": "ocr", "ocr@production": "ocr@production", "ocr@sha256:bbbbbb": "ocr@" + digestOf("b"), "ocr@bbbbbb": "ocr@" + digestOf("b"), "ocr@bbbbb": "ocr@bbbbb", "ocr@sha256:bbb": "ocr@sha256:bbb",
		"ocr@sha256:dddddd": "ocr@sha256:dddddd", "ocr@" + digestOf("a"): "ocr@" + digestOf("a"),
	} {
		if got := whole(m, text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	m.Status.Aliases = append(m.Status.Aliases, v1alpha1.ModelAliasStatus{Name: "bbbbbb"})
	if got := whole(m, "ocr@bbbbbb"); got != "ocr@bbbbbb" {
		t.Errorf("an alias is called so, and %s is taken", got)
	}
	m.Status.Versions = append(m.Status.Versions, v1alpha1.ModelVersion{Digest: "sha256:bbbbbbb" + strings.Repeat("0", 57)})
	if got := whole(m, "ocr@sha256:bbbbbb"); got != "ocr@sha256:bbbbbb" {
		t.Errorf("two versions begin so, and %s is taken", got)
	}
}

func TestTheControllersWord(t *testing.T) {
	want := v1alpha1.ModelAlias{Name: "production", Digest: digestOf("c"), Reason: "new"}
	m := line()
	wish(m, want)
	wish(m, v1alpha1.ModelAlias{Name: "staging", Digest: digestOf("c")})
	if len(m.Spec.Aliases) != 2 || m.Spec.Aliases[0] != want {
		t.Fatalf("wishes %+v", m.Spec.Aliases)
	}
	if ok, err := judged(m, want, 3); ok || err != nil {
		t.Errorf("nothing was said: %v, %v", ok, err)
	}
	m.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionPromoted, Status: metav1.ConditionFalse, ObservedGeneration: 2, Message: "of before"}}
	if ok, err := judged(m, want, 3); ok || err != nil {
		t.Errorf("what was said of before counts: %v, %v", ok, err)
	}
	m.Status.Conditions[0].ObservedGeneration, m.Status.Conditions[0].Message = 3, "no evaluation"
	if ok, err := judged(m, want, 3); !ok || !errors.Is(err, errKept) || !strings.Contains(err.Error(), "no evaluation") {
		t.Errorf("a refusal: %v, %v", ok, err)
	}
	unwish(m, want)
	unwish(m, v1alpha1.ModelAlias{Name: "staging", Digest: digestOf("c")})
	if d := cmp.Diff([]v1alpha1.ModelAlias{{Name: "production", Digest: digestOf("b")}}, m.Spec.Aliases); d != "" {
		t.Errorf("after the wishes were taken back (-want +got):\n%s", d)
	}
	wish(m, v1alpha1.ModelAlias{Name: "production", Digest: digestOf("a")}) // somebody else's
	unwish(m, want)
	if m.Spec.Aliases[0].Digest != digestOf("a") {
		t.Error("the wish of somebody else was taken back")
	}
	m.Status.Aliases[0].Digest = digestOf("c")
	if ok, err := judged(m, want, 3); !ok || err != nil {
		t.Errorf("it holds: %v, %v", ok, err)
	}
}

func TestVersionRows(t *testing.T) {
	now := time.Unix(1e9, 0)
	m := line()
	at := metav1.NewTime(now.Add(-time.Hour))
	m.Status.Versions = m.Status.Versions[1:2]
	m.Status.Versions[0].Time, m.Status.Versions[0].Metrics, m.Status.Versions[0].SizeBytes = &at, map[string]string{"accuracy": "0.97"}, 1<<20
	want := [][]string{{"DIGEST", "ALIASES", "METRICS", "LICENCE", "SIZE", "JOB", "AGE"}, {digestOf("b"), "production", "accuracy=0.97", "-", "1.0 MiB", "train-b", "60m"}}
	if d := cmp.Diff(want, versionRows(m, now)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func editionOf(c string, files ...string) *edition {
	m := line()
	a := &pack.Artifact{Digest: digest.Digest(digestOf(c))}
	for i := 0; i < len(files); i += 2 {
		a.Manifest.Layers = append(a.Manifest.Layers, ocispec.Descriptor{
			Digest: digest.FromString(files[i+1]), Size: int64(len(files[i+1])), Annotations: map[string]string{"org.cncf.model.filepath": files[i]},
		})
	}
	return &edition{Model: m, ModelVersion: v1alpha1.ModelVersion{Digest: digestOf(c)}, Artifact: a}
}

func TestDifferences(t *testing.T) {
	a, b := editionOf("a", "model.onnx", "1", "same", "s", "old", "o"), editionOf("b", "model.onnx", "2", "same", "s", "new", "n")
	a.Metrics, b.Metrics = map[string]string{"accuracy": "0.95", "loss": "1"}, map[string]string{"accuracy": "0.97", "loss": "1"}
	a.Licence, b.Lineage.Data = "MIT", map[string]string{"digits": digestOf("d")}
	b.Lineage.Parameters, b.Lineage.Parents = map[string]string{"epochs": "3"}, map[string]string{"teacher": digestOf("e")}
	var got []string
	for _, d := range differences(a, b) {
		got = append(got, strings.Join([]string{d.Of, d.Name, brief(d.A), brief(d.B), d.Change}, "|"))
	}
	of := func(s string) string { return brief(digest.FromString(s).String()) }
	want := []string{
		"licence||MIT||", "metric|accuracy|0.95|0.97|+0.02", "parameter|epochs||3|", "data|digits||sha256:dddddddddddd|", "parent|teacher||sha256:eeeeeeeeeeee|",
		"file|model.onnx|" + of("1") + "|" + of("2") + "|", "file|new||" + of("n") + "|", "file|old|" + of("o") + "||",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got := differences(a, a); len(got) != 0 {
		t.Errorf("a version differs from itself in %v", got)
	}
}

// family is a student whose teacher is known, and whose grandparent is not.
func family() *ancestry {
	return &ancestry{
		Name: "ocr", Digest: digestOf("c"), Aliases: []string{"production"}, Licence: "MIT",
		Lineage:     v1alpha1.Lineage{Job: "train", JobUID: "u", Runtime: "pytorch", RuntimeDigest: digestOf("1"), Data: map[string]string{"digits": ""}, Workers: 2, Restarts: 1},
		Parents:     []ancestry{{For: "teacher", Name: "big", Digest: digestOf("d"), Lineage: v1alpha1.Lineage{Source: "onnx, by ana"}, Parents: []ancestry{{For: "from", Digest: digestOf("e")}}}},
		Evaluations: []finding{{Name: "e1", State: v1alpha1.StateSucceeded, Passed: true, Verdict: "better.", Metrics: map[string]v1alpha1.MetricValue{"accuracy": {Value: "0.97", Low: "0.95", High: "0.98"}}}, {Name: "e2", State: v1alpha1.StateRunning}},
		Attached:    []pack.Referrer{{Digest: "sha256:77", ArtifactType: pack.TypeSignature}},
	}
}

func TestLineageIsATree(t *testing.T) {
	var b bytes.Buffer
	drawAncestry(&b, family())
	want := "ocr " + digestOf("c") + `  @production
├─ job train (u), 2 workers, 1 restart
│  ├─ runtime pytorch ` + digestOf("1") + `
│  └─ data digits
├─ teacher: big ` + digestOf("d") + `
│  ├─ imported: onnx, by ana
│  └─ from: ` + digestOf("e") + `  (no model of this namespace has it)
├─ evaluation e1: passed. better.
├─ evaluation e2: Running
├─ attached: signature (not verified) sha256:77
└─ licence MIT
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestACardHasFactsAndGaps(t *testing.T) {
	v := editionOf("c", "model.onnx", "1")
	v.Licence, v.Framework, v.Metrics = "MIT", "onnx opset 13", map[string]string{"loss": "0.1"}
	text := card(v, family(), []byte("---\nlicense: other\ntags: [ocr]\n---\nwords"))
	for _, want := range []string{
		"license: \"MIT\"\n", "- \"ocr\"\n", "# ocr\n", "`ocr@production`", "Trained by job `train`", "| loss | 0.1 |", "## Evaluation e1", "| accuracy | 0.97 | 0.95 to 0.98 |",
		"Data digits was not pinned", "| `model.onnx` |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the card does not say %q:\n%s", want, text)
		}
	}
	for _, not := range []string{"No evaluation", "e2", "licence is not known"} {
		if strings.Contains(text, not) {
			t.Errorf("the card says %q", not)
		}
	}
	v.Licence, v.Metrics = "", nil
	text = card(v, &ancestry{Lineage: v1alpha1.Lineage{Source: "onnx, by ana"}}, nil)
	for _, want := range []string{"Licence: **not known**", "No evaluation has judged", "Its licence is not known", "What it was trained on is not recorded", "Imported: onnx, by ana"} {
		if !strings.Contains(text, want) {
			t.Errorf("the card of what is not known does not say %q:\n%s", want, text)
		}
	}
}
