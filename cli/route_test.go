package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model/eval"
	rules "polder.dev/polder/model/route"
)

// routed is the spec that flags ask for.
func routed(t *testing.T, args ...string) (*v1alpha1.ModelRouteSpec, error) {
	t.Helper()
	var f routeFlags
	cmd := &cobra.Command{Use: "x"}
	f.add(cmd, &options{})
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return f.spec(cmd)
}

func TestRouteFlags(t *testing.T) {
	got, err := routed(t, "--specialist=student", "--general=teacher", "--evaluation=both", "--escalation-max=0.3", "--cost=student=0.1,teacher=2",
		"--fallback=teacher", "--shadow=new=5", "--rate=10", "--budget=100", "--cache=1m", "--log=s3://logs/ocr", "--log-percent=50", `--redact=\d{16}`)
	if err != nil {
		t.Fatal(err)
	}
	want := &v1alpha1.ModelRouteSpec{
		Targets: []v1alpha1.RouteTarget{{Name: "student", Service: "student", Cost: "0.1"}, {Name: "teacher", Service: "teacher", Cost: "2"}, {Name: "new", Service: "new"}},
		Rules: []v1alpha1.RouteRule{{Name: "all", Cascade: &v1alpha1.Cascade{
			Specialist: "student", General: "teacher", Learn: &v1alpha1.CascadeLearning{Evaluation: "both", EscalationMax: "0.3"},
		}}},
		Fallback: []string{"teacher"}, Shadow: &v1alpha1.Shadow{Target: "new", Percent: 5},
		Limits: &v1alpha1.RouteLimits{RequestsPerSecond: 10, BudgetPerDay: "100"}, Cache: &v1alpha1.RouteCache{Seconds: 60},
		Log: &v1alpha1.RouteLog{Bucket: v1alpha1.BucketSource{Name: "logs", Prefix: "ocr"}, Percent: 50, Redact: []string{`\d{16}`}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	got, err = routed(t, "--split=old=90,new=10")
	if err != nil || len(got.Targets) != 2 || cmp.Diff([]v1alpha1.RouteWeight{{Target: "new", Weight: 10}, {Target: "old", Weight: 90}}, got.Rules[0].Split) != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRouteMisuse(t *testing.T) {
	dir := away(t)
	file := filepath.Join(dir, "route.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: polder.dev/v1alpha1\nkind: ModelRoute\nspec:\n  target: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"route create":                                                                                "takes NAME",
		"route create a":                                                                              "say where requests go",
		"route create a --specialist x":                                                               "give --general, too",
		"route create a --split x=1 --file y":                                                         "--file and --split exclude each other",
		"route create a --split x=many":                                                               "a weight is a whole number",
		"route create a --split x=0":                                                                  "all weights are 0",
		"route create a --split x=1 --cost y=1":                                                       "no such service; it has x",
		"route create a --split x=1 --cache 1500ms":                                                   "--cache",
		"route create a --split x=1 --redact y":                                                       "say where with --log",
		"route create a --split x=1 --log y":                                                          "s3://BUCKET/PREFIX",
		"route create a --split x=1 --shadow y":                                                       "SERVICE=PERCENT",
		"route create a --split x=1 --log s3://b --redact (":                                          "log.redact[0]",
		"route create a --split x=1 --burst 3":                                                        "limits.burst",
		"route create a --split x=1 --budget 3":                                                       "targets[].cost",
		"route create a --specialist x --general y":                                                   "--threshold",
		"route create a --specialist x --general x --threshold 0.5":                                   "two services",
		"route create a --specialist x --general y --threshold 5":                                     "no number from 0 to 1",
		"route create a --specialist x --general y --evaluation e":                                    "--escalation-max or --quality-min",
		"route create a --specialist x --general y --threshold 0.1 --quality-min 1":                   "name an --evaluation",
		"route create a --specialist x --general y --evaluation e --quality-min 0":                    "qualityMin",
		"route create a --specialist x --general y --evaluation e --quality-min 1 --escalation-max 1": "--escalation-max and --quality-min exclude each other",
		"route create a -f " + file:                                                                   `unknown field "target"`,
		"route create a -f " + dir + "/none":                                                          "no such file",
		"route show":                                                                                  "takes ROUTE",
		"route learn a":                                                                               "ROUTE and EVALUATION",
		"route ls -o yaml":                                                                            "-o yaml is not known",
		"route nonsense":                                                                              `no verb "nonsense"`,
	} {
		if code, _, errs, _ := program(t, strings.Fields(args)...); code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit code %d, %q does not say %q", args, code, errs, want)
		}
	}
}

func shownExample(t *testing.T) *v1alpha1.ModelRoute {
	t.Helper()
	spec, err := routed(t, "--specialist=student", "--general=teacher", "--evaluation=both", "--escalation-max=0.3", "--log=s3://logs/ocr", "--rate=5", "--cache=1m", "--shadow=new=5", "--fallback=teacher")
	if err != nil {
		t.Fatal(err)
	}
	r := &v1alpha1.ModelRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "digits", CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0))}, Spec: *spec}
	r.Spec.Rules[0].Match = v1alpha1.RouteMatch{Tasks: []string{"ocr", "form"}, BytesMax: 10}
	r.Status = v1alpha1.ModelRouteStatus{
		URL: "https://gate/lab/v2/models/digits",
		Cascade: &v1alpha1.CascadeStatus{
			Threshold: "0.41", Rows: 180, Verdict: "The cascade is better.", Evaluation: "sha256:1",
			Expected: &v1alpha1.RouteQuality{Quality: "0.96875", Low: "0.93", High: "0.99", Escalation: "0.2888", Cost: "0.7"},
			Cheapest: &v1alpha1.RouteQuality{Quality: "0.919", Low: "0.87", High: "0.95", Escalation: "0"},
		},
		Observed: &v1alpha1.RouteObserved{Requests: 100, Escalated: 40, RecentEscalation: "0.4", Compared: 40, Disagreed: 3},
	}
	apimeta.SetStatusCondition(&r.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue})
	apimeta.SetStatusCondition(&r.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionDrift, Status: metav1.ConditionTrue, Message: "Too many go on."})
	return r
}

func TestRouteShown(t *testing.T) {
	r := shownExample(t)
	var b strings.Builder
	lesson := &rules.Learned{Rows: 180, Curve: []rules.Point{{Quality: 0.9}, {Escalation: 0.5, Quality: 0.97}, {Escalation: 1, Quality: 0.98}}}
	if err := printRoute(&b, r, lesson); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"yes: Too many go on.", "all: if task ocr|form and 0 to 10 bytes, student, and teacher for at most 30.0%; learns from evaluation both",
		"100 requests, 40 went on (40.0% of the latest); of 40 compared answers 3 differ", "Threshold 0.41, learned from 180 rows", "cascade, expected  0.9688   0.9300 to 0.9900  28.9%    0.7000",
		"specialist alone   0.9190   0.8700 to 0.9500  0.0%     -", "The cascade is better.", "0.98 │", "0.9 │", "0%", "100%", "s3://logs/ocr", "new, 5%", "5 requests a second",
	} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("no %q in\n%s", part, b.String())
		}
	}
	row := routeRow(r, time.Unix(1e9+7200, 0))
	if d := cmp.Diff([]string{"lab", "digits", "student,teacher,new", "yes", "0.41", "40.0%", "yes", "https://gate/lab/v2/models/digits", "2h", "Too many go on."}, row); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestTeach(t *testing.T) {
	r := shownExample(t)
	if err := (&routeFlags{}).teach(r, "again"); err != nil || r.Spec.Rules[0].Cascade.Learn.Evaluation != "again" || r.Spec.Rules[0].Cascade.Learn.EscalationMax != "0.3" {
		t.Errorf("%+v, %v", r.Spec.Rules[0].Cascade.Learn, err)
	}
	if err := (&routeFlags{qualityMin: "0.9"}).teach(r, "again"); err != nil || r.Spec.Rules[0].Cascade.Learn.EscalationMax != "" {
		t.Errorf("%+v, %v", r.Spec.Rules[0].Cascade.Learn, err)
	}
	c := r.Spec.Rules[0].Cascade
	c.Learn, c.Threshold = nil, "0.5"
	if err := (&routeFlags{}).teach(r, "again"); !usage.Is(err) {
		t.Errorf("without a goal: %v", err)
	}
	if err := (&routeFlags{escalationMax: "0.2"}).teach(r, "again"); err != nil || c.Threshold != "" {
		t.Errorf("%+v, %v", c, err)
	}
	r.Spec.Rules[0].Cascade = nil
	if err := (&routeFlags{}).teach(r, "again"); !usage.Is(err) || !strings.Contains(err.Error(), "no cascade") {
		t.Errorf("%v", err)
	}
}

func TestLearnReport(t *testing.T) {
	report := &eval.Report{Models: []eval.Model{{Name: "a", Answers: &eval.Answers{}}, {Name: "b", Answers: &eval.Answers{}}}}
	for i := range 100 {
		a, b := report.Models[0].Answers, report.Models[1].Answers
		a.Margin, a.Correct, b.Correct = append(a.Margin, float64(i)/100), append(a.Correct, i >= 20), append(b.Correct, true)
	}
	l, err := learnReport(report, "a", "b", rules.Goal{Escalation: 0.3}, rules.Costs{})
	if err != nil || l.Expected.Quality < 0.98 {
		t.Fatalf("%+v, %v", l, err)
	}
	var b strings.Builder
	cmd := &cobra.Command{}
	cmd.SetOut(&b)
	if err := (&options{}).printLearned(cmd, l); err != nil || !strings.Contains(b.String(), "best mix at equal cost") || !strings.Contains(b.String(), "│") {
		t.Errorf("%v\n%s", err, b.String())
	}
	if _, err := learnReport(report, "b", "a", rules.Goal{Escalation: 0.3}, rules.Costs{}); !usage.Is(err) {
		t.Errorf("%v", err)
	}
}
