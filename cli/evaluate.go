package cli

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model"
	"polder.dev/polder/model/eval"
	tables "polder.dev/polder/model/eval/table"
	"polder.dev/polder/model/image"
	"polder.dev/polder/storage/transfer"
)

// judging is what `polder evaluate` was asked to do.
type judging struct {
	name                           string
	against                        []string
	task                           string
	data, file                     string
	label                          string
	slices                         []string
	rows                           string
	trained                        string
	trainedFile                    string
	require                        []string
	runtime                        string
	cpu, memory                    string
	program, programDir, programIn string
	costPerHour                    []string
	classes                        []string
	system                         string
	maxTokens                      int32
	seed                           int64
	deadline                       time.Duration
	replace                        bool
	follow                         bool
}

func (o *options) evaluate() *cobra.Command {
	var q judging
	cmd := &cobra.Command{
		Use:   "evaluate MODEL|service/NAME|route/NAME --data DATA",
		Short: "Judge a model, service or route, alone or against others, on the same rows",
		Long: `Judge a model on rows that it has not learned from, alone or against others: quality
with confidence intervals, latency and cost, and whether it is better, worse or not to be
told apart. MODEL is NAME, NAME@ALIAS or NAME@sha256:DIGEST. A service or route is asked
through the gateway, as any client asks it; with --task generation it is asked for texts, by
OpenAI's API.

DATA is a data set (polder dataset), s3://BUCKET/PREFIX, s3://BUCKET/FILE.csv, or an image
such as data/NAMESPACE/NAME@sha256:DIGEST. It holds a table: CSV, or JSON lines.

--require says what the model must reach to pass: METRIC>=NUMBER, METRIC<=NUMBER, or
METRIC>=MODEL for not being significantly worse than a model it is compared with.`,
		Example: "  polder evaluate ocr-student --against ocr-digits@production --data digits-v1 --label digit \\\n    --require 'accuracy>=0.95' --require 'accuracy>=ocr-digits' --follow\n" +
			"  polder evaluate route/digits --against service/student --against service/teacher --data digits-v1 --follow\n" +
			"  polder evaluate service/llama --task generation --max-tokens 64 --data s3://tests/questions.jsonl --label answer",
		Args: exactly("MODEL"), ValidArgsFunction: o.completeJudged,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		e, err := q.build(args[0])
		if err != nil {
			return usage.Error(err)
		}
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		e.Namespace = c.Namespace
		if err := q.pushProgram(cmd, c, e); err != nil {
			return err
		}
		if err := q.create(cmd.Context(), c, e); err != nil {
			return err
		}
		if q.follow {
			return o.followEvaluation(cmd, c, e)
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), e)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Evaluation %s is submitted; `polder evaluation show %s` shows what it says.\n", e.Name, e.Name)
		if gone := absent(cmd.Context(), c, &e.Spec); len(gone) > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "It waits, %s at most, for what is not in namespace %s yet: %s.\n", q.deadline, c.Namespace, strings.Join(gone, ", "))
		}
		return nil
	}
	q.flags(cmd)
	_ = cmd.RegisterFlagCompletionFunc("against", func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return o.completeJudged(cmd, nil, typed)
	})
	return o.flags(cmd, "json")
}

// completeJudged offers models, services and routes.
func (o *options) completeJudged(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, done := o.completeModels(cmd, args, typed)
	for prefix, complete := range map[string]cobra.CompletionFunc{asService: o.completeServices, asRoute: o.completeRoutes} {
		more, _ := complete(cmd, args, typed) // of what cannot be listed none is offered
		for _, name := range more {
			names = append(names, prefix+name)
		}
	}
	slices.Sort(names)
	return names, done
}

// What names of services and routes begin with.
const (
	asService = "service/"
	asRoute   = "route/"
)

func (q *judging) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&q.name, "name", "", "name of the evaluation (default: the model's, and some letters)")
	f.StringArrayVar(&q.against, "against", nil, "model, service/NAME or route/NAME to compare with; may be repeated")
	f.StringVar(&q.task, "task", eval.TaskClassification, "classification, regression, forecast or generation")
	f.StringVar(&q.data, "data", "", "rows to judge on: DATASET, s3://BUCKET/PREFIX or an image")
	f.StringVar(&q.file, "file", "", "file in the data (default: the only table there is)")
	f.StringVar(&q.label, "label", "", "column of right answers, by name, or by number from 1 where there are no names (default: the last)")
	f.StringArrayVar(&q.slices, "slice", nil, "column by whose values quality is told apart; may be repeated")
	f.StringVar(&q.rows, "rows", "", "rows that are taken, as FROM:TO, from 0, without TO")
	f.StringVar(&q.trained, "trained", "", "what the model learned from, as --data: rows in both are told of")
	f.StringVar(&q.trainedFile, "trained-file", "", "file in that data")
	f.StringArrayVar(&q.require, "require", nil, "what the model must reach to pass, such as accuracy>=0.95; may be repeated")
	f.StringVar(&q.runtime, "runtime", "", "runtime that the models run in (default: onnx-cpu)")
	f.StringVar(&q.cpu, "cpu", "", "processors of the pod that judges, such as 500m or 2")
	f.StringVar(&q.memory, "memory", "", "memory of the pod that judges, such as 2Gi")
	f.StringVar(&q.program, "program", "", "command that judges answers (docs/howto/evaluation.md), such as 'python3 judge.py'")
	f.StringVar(&q.programDir, "program-dir", ".", "directory of its code")
	f.StringVar(&q.programIn, "program-runtime", "pytorch-cpu", "runtime that it runs in")
	f.StringArrayVar(&q.costPerHour, "cost-per-hour", nil, "cost of the pod an hour, in whatever unit you count in, or NAME=COST of a service or route; may be repeated")
	f.StringSliceVar(&q.classes, "classes", nil, "classes that services and routes answer, in their order, where their server does not tell")
	f.Int32Var(&q.maxTokens, "max-tokens", 0, "tokens that a text may have (default 256)")
	f.StringVar(&q.system, "system", "", "system message before each prompt, of texts")
	f.Int64Var(&q.seed, "seed", 1, "seed of what is drawn by chance")
	f.DurationVar(&q.deadline, "deadline", 24*time.Hour, "when the evaluation fails if it is not done")
	f.BoolVar(&q.replace, "replace", false, "remove an earlier evaluation of this name that has ended")
	f.BoolVarP(&q.follow, "follow", "f", false, "show progress until the end; the exit code is 0 when the model passes")
	_ = cmd.MarkFlagRequired("data")
	_ = cmd.RegisterFlagCompletionFunc("task", cobra.FixedCompletions(tasks, cobra.ShellCompDirectiveNoFileComp))
}

var tasks = []string{eval.TaskClassification, eval.TaskRegression, eval.TaskForecast, eval.TaskGeneration}

// build makes the Evaluation that was asked for, of candidate. Its errors name flags.
func (q *judging) build(candidate string) (*v1alpha1.Evaluation, error) {
	e := &v1alpha1.Evaluation{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Evaluation"}}
	s := &e.Spec
	for i, m := range append([]string{candidate}, q.against...) {
		entry, name, err := q.entry(m, s.Models)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			e.Name, e.GenerateName = q.name, ""
			if q.name == "" {
				e.GenerateName = clipName(name, 40) + "-"
			}
		}
		s.Models = append(s.Models, entry)
	}
	if len(s.Models) > eval.ModelsMax {
		return nil, fmt.Errorf("--against: %d models are judged together at most", eval.ModelsMax)
	}
	if !slices.Contains(tasks, q.task) {
		return nil, fmt.Errorf("--task %q is none of %s", q.task, strings.Join(tasks, ", "))
	}
	s.Task, s.Runtime, s.Seed, s.DeadlineSeconds = v1alpha1.Task(q.task), q.runtime, q.seed, int64(q.deadline/time.Second)
	if s.DeadlineSeconds < 1 {
		return nil, fmt.Errorf("--deadline %s is shorter than a second", q.deadline)
	}
	if err := q.costs(s); err != nil {
		return nil, err
	}
	if err := q.texts(s); err != nil {
		return nil, err
	}
	if err := q.resources(s); err != nil {
		return nil, err
	}
	if err := q.tables(s); err != nil {
		return nil, err
	}
	if command := strings.Fields(q.program); len(command) > 0 {
		s.Program = &v1alpha1.EvaluationProgram{Runtime: q.programIn, Command: command}
	} else if q.program != "" {
		return nil, fmt.Errorf("--program is empty; write a command, such as 'python3 judge.py'")
	}
	return e, q.requires(s)
}

// absent names the models, services, routes and data sets that are not there now. What
// cannot be looked up is left to the controller.
func absent(ctx context.Context, c *kube.Client, s *v1alpha1.EvaluationSpec) (out []string) {
	look := func(what, name string, o kube.Object) {
		if name != "" && apierrors.IsNotFound(c.Get(ctx, kube.Key(c.Namespace, name), o)) {
			out = append(out, what+" "+name)
		}
	}
	for _, m := range s.Models {
		if n, err := model.ParseName(m.Model); err == nil {
			look("model", n.Model, &v1alpha1.Model{})
		}
		look("service", m.Service, &v1alpha1.InferenceService{})
		look("route", m.Route, &v1alpha1.ModelRoute{})
	}
	look("data set", s.Data.Dataset, &v1alpha1.Dataset{})
	if s.Trained != nil {
		look("data set", s.Trained.Dataset, &v1alpha1.Dataset{})
	}
	return slices.Compact(out)
}

// entry is what is judged, of a name on the command line.
func (q *judging) entry(text string, taken []v1alpha1.EvaluatedModel) (entry v1alpha1.EvaluatedModel, name string, err error) {
	for prefix, to := range map[string]*string{asService: &entry.Service, asRoute: &entry.Route} {
		name, is := strings.CutPrefix(text, prefix)
		if !is {
			continue
		}
		n, err := model.ParseName(name)
		if err != nil || n.Model != name {
			return entry, "", fmt.Errorf("%q names no %s: write %sNAME, in lower-case letters, digits and '-'", text, strings.TrimSuffix(prefix, "/"), prefix)
		}
		n.Alias = strings.TrimSuffix(prefix, "/") // which tells it from a model of the name
		*to, entry.Name, entry.Labels = name, entryName(n, taken), q.classes
		return entry, name, nil
	}
	n, err := model.ParseName(text)
	if err != nil {
		return entry, "", err
	}
	return v1alpha1.EvaluatedModel{Name: entryName(n, taken), Model: n.String()}, n.Model, nil
}

// costs reads what an hour costs: of the pod, or of a service or route by name.
func (q *judging) costs(s *v1alpha1.EvaluationSpec) error {
	for _, text := range q.costPerHour {
		to := &s.CostPerHour
		name, cost, named := strings.Cut(text, "=")
		if !named {
			cost = text
		}
		if v, err := strconv.ParseFloat(cost, 64); err != nil || v < 0 {
			return fmt.Errorf("--cost-per-hour %q is no number, such as 0.12, and no NAME=NUMBER", text)
		}
		if named {
			i := slices.IndexFunc(s.Models, func(m v1alpha1.EvaluatedModel) bool { return m.Name == name && m.Model == "" })
			if i < 0 {
				return fmt.Errorf("--cost-per-hour %q: no service or route that is judged is called %s; what models cost is the pod's", text, name)
			}
			to = &s.Models[i].CostPerHour
		}
		*to = cost
	}
	return nil
}

// texts reads how texts are asked for.
func (q *judging) texts(s *v1alpha1.EvaluationSpec) error {
	if q.task != eval.TaskGeneration {
		if q.maxTokens != 0 || q.system != "" {
			return fmt.Errorf("--max-tokens and --system are for --task %s", eval.TaskGeneration)
		}
		return nil
	}
	if q.maxTokens < 0 {
		return fmt.Errorf("--max-tokens %d is below 1", q.maxTokens)
	}
	for _, m := range s.Models {
		if m.Model != "" {
			return fmt.Errorf("--task %s: models in ONNX write no text; name a service or route that speaks OpenAI's API, such as %s%s", eval.TaskGeneration, asService, m.Model)
		}
	}
	if q.trained != "" {
		return fmt.Errorf("--trained: texts are not looked for in training data")
	}
	if q.maxTokens != 0 || q.system != "" {
		s.Generation = &v1alpha1.EvaluationGeneration{MaxTokens: q.maxTokens, System: q.system}
	}
	return nil
}

// pushProgram packs the code of the program that judges, if there is one.
func (q *judging) pushProgram(cmd *cobra.Command, c *kube.Client, e *v1alpha1.Evaluation) error {
	if e.Spec.Program == nil {
		return nil
	}
	img, done, err := image.OfDir(q.programDir)
	if err != nil {
		return usage.Errorf("--program-dir: %w", err)
	}
	defer done()
	images, err := store(cmd.Context(), c)
	if err != nil {
		return err
	}
	repository := "code/" + e.Namespace + "/" + or(e.Name, image.Name(strings.TrimSuffix(e.GenerateName, "-")))
	progress, end := meter(cmd.ErrOrStderr(), "code")
	digest, err := images.Push(cmd.Context(), repository+":latest", img, progress)
	end()
	if err != nil {
		return err
	}
	e.Spec.Program.Code.Image = repository + "@" + digest.String()
	return nil
}

// entryName is what a model is called in the report: its name, and where that is taken
// its alias or the beginning of its digest with it.
func entryName(n model.Name, taken []v1alpha1.EvaluatedModel) string {
	name := n.Model
	is := func(name string) bool {
		return slices.ContainsFunc(taken, func(m v1alpha1.EvaluatedModel) bool { return m.Name == name })
	}
	if is(name) {
		name = clipName(n.Model, 40) + "-" + or(n.Alias, strings.TrimPrefix(n.Digest, "sha256:")[:min(8, len(strings.TrimPrefix(n.Digest, "sha256:")))])
	}
	for i := 2; is(name) || strings.HasSuffix(name, "-"); i++ {
		name = clipName(n.Model, 40) + "-" + strconv.Itoa(i)
	}
	return name
}

func clipName(s string, most int) string { return strings.TrimRight(s[:min(len(s), most)], "-") }

func (q *judging) resources(s *v1alpha1.EvaluationSpec) error {
	for _, r := range []struct {
		flag, text string
		to         *resource.Quantity
	}{{"--cpu", q.cpu, &s.Resources.CPU}, {"--memory", q.memory, &s.Resources.Memory}} {
		if r.text == "" {
			continue
		}
		v, err := resource.ParseQuantity(r.text)
		if err != nil || v.Sign() <= 0 {
			return fmt.Errorf("%s %q is no amount above 0, such as 500m or 2Gi", r.flag, r.text)
		}
		*r.to = v
	}
	return nil
}

func (q *judging) tables(s *v1alpha1.EvaluationSpec) error {
	var err error
	if s.Data, err = tableAt("--data", q.data, q.file); err != nil {
		return err
	}
	s.Data.Label, s.Data.Slices = q.label, q.slices
	if q.rows != "" {
		if s.Data.Rows, err = rowRange(q.rows); err != nil {
			return err
		}
	}
	if q.trained == "" {
		if q.trainedFile != "" {
			return fmt.Errorf("--trained-file: there is no --trained that it could be in")
		}
		return nil
	}
	t, err := tableAt("--trained", q.trained, q.trainedFile)
	t.Label, t.Slices = q.label, q.slices
	s.Trained = &t
	return err
}

// tableAt reads where data is: s3://BUCKET/..., an image, or a data set.
func tableAt(flag, text, file string) (v1alpha1.EvaluationData, error) {
	d := v1alpha1.EvaluationData{File: file}
	switch {
	case strings.HasPrefix(text, "s3://"):
		a, err := transfer.Parse(text)
		if err != nil {
			return d, err
		}
		prefix := a.Key
		if _, err := tables.FormatOf(prefix); err == nil && file == "" {
			d.File = path.Base(prefix)
			prefix = strings.TrimSuffix(prefix, d.File)
		}
		d.Bucket = &v1alpha1.BucketSource{Name: a.Bucket, Prefix: prefix}
	case strings.Contains(text, "/"):
		d.Image = text
	case text != "":
		d.Dataset = text
	default:
		return d, fmt.Errorf("%s is empty; name a data set, s3://BUCKET/PREFIX or an image", flag)
	}
	return d, nil
}

func rowRange(text string) (*v1alpha1.RowRange, error) {
	from, to, _ := strings.Cut(text, ":")
	var r v1alpha1.RowRange
	for _, p := range []struct {
		text string
		to   *int64
	}{{from, &r.From}, {to, &r.To}} {
		if p.text == "" {
			continue
		}
		v, err := strconv.ParseInt(p.text, 10, 64)
		if err != nil || v < 0 {
			return nil, fmt.Errorf("--rows %q is not FROM:TO, such as 0:1000, or 1000: to the end", text)
		}
		*p.to = v
	}
	if r.To != 0 && r.To <= r.From {
		return nil, fmt.Errorf("--rows %q: there are no rows from %d up to %d", text, r.From, r.To)
	}
	return &r, nil
}

// requires reads requirements, and checks them as the pod would.
func (q *judging) requires(s *v1alpha1.EvaluationSpec) error {
	var names []string
	for _, m := range s.Models {
		names = append(names, m.Name)
	}
	for _, text := range q.require {
		r, check, err := requirementOf(text)
		if err == nil {
			err = check.Check(q.task, names, s.Program != nil)
		}
		if err != nil {
			return fmt.Errorf("--require %q: %w", text, err)
		}
		s.Requirements = append(s.Requirements, r)
	}
	return nil
}

func requirementOf(text string) (v1alpha1.EvaluationRequirement, eval.Requirement, error) {
	for _, sign := range []string{">=", "<="} {
		metric, bound, ok := strings.Cut(text, sign)
		if !ok {
			continue
		}
		metric, bound = strings.TrimSpace(metric), strings.TrimSpace(bound)
		r, check := v1alpha1.EvaluationRequirement{Metric: metric}, eval.Requirement{Metric: metric}
		v, err := strconv.ParseFloat(bound, 64)
		switch {
		case bound == "":
			return r, check, fmt.Errorf("there is nothing after %s", sign)
		case err != nil: // a model
			r.NotWorseThan, check.NotWorseThan = bound, bound
		case sign == ">=":
			r.Min, check.Min = bound, &v
		default:
			r.Max, check.Max = bound, &v
		}
		return r, check, nil
	}
	return v1alpha1.EvaluationRequirement{}, eval.Requirement{}, fmt.Errorf("write METRIC>=NUMBER, METRIC<=NUMBER or METRIC>=MODEL")
}

// create creates the evaluation, after removing an earlier one if that was asked for.
func (q *judging) create(ctx context.Context, c *kube.Client, e *v1alpha1.Evaluation) error {
	if e.Name != "" {
		if err := q.clear(ctx, c, e); err != nil {
			return err
		}
	}
	err := c.Create(ctx, e)
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		return usage.Error(err)
	}
	if err != nil {
		return fmt.Errorf("creating evaluation %s: %w", or(e.Name, e.GenerateName), err)
	}
	return nil
}

func (q *judging) clear(ctx context.Context, c *kube.Client, e *v1alpha1.Evaluation) error {
	var have v1alpha1.Evaluation
	err := c.Get(ctx, kube.Key(e.Namespace, e.Name), &have)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("looking for an earlier evaluation: %w", err)
	case !have.Status.State.Done():
		return usage.Errorf("evaluation %s is there and has not ended; remove it with `polder evaluation rm %s`, or choose another name with --name", e.Name, e.Name)
	case !q.replace:
		return usage.Errorf("evaluation %s is there and has ended; give --replace to remove it first, or another name with --name", e.Name)
	}
	if err := c.Create(ctx, e.DeepCopy(), kube.DryRun()); err != nil && !apierrors.IsAlreadyExists(err) { // before anything is removed
		return usage.Error(err)
	}
	return removeEvaluation(ctx, c, &have)
}

// removeEvaluation removes e and its Job, and waits until they are gone. Its report stays.
func removeEvaluation(ctx context.Context, c *kube.Client, e *v1alpha1.Evaluation) error {
	if err := c.Delete(ctx, e, kube.InForeground); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing evaluation %s: %w", e.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		var now v1alpha1.Evaluation
		err := c.Get(ctx, kube.Key(e.Namespace, e.Name), &now)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			err = pause(ctx, lookEvery)
		}
		if err != nil {
			return fmt.Errorf("waiting until evaluation %s is gone: %w", e.Name, err)
		}
	}
}
