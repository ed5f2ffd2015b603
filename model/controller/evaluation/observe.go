package evaluation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/trial"
)

const (
	// nameMax of what a pod calls something.
	nameMax = 256
	// tail is how many lines are read for progress.
	tail = 8
	// warnAfter is how long a pod may be absent before the Job's events are read.
	warnAfter = 3 * time.Second
)

func (c *Controller) readJob(ctx context.Context, l *look) error {
	var j batchv1.Job
	err := c.deps.Live.Get(ctx, client.ObjectKey{Namespace: l.e.Namespace, Name: JobName(l.e.Name)}, &j)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading job %s: %w", JobName(l.e.Name), err)
	}
	if l.e.Status.State.Done() && !owned(l.e, &j) {
		return nil
	}
	l.job = &j
	return nil
}

// observe looks at a Job that is there.
func (c *Controller) observe(ctx context.Context, l *look) error {
	l.again = c.cfg.Progress
	if l.job.DeletionTimestamp != nil {
		return nil // somebody removes it; another one follows
	}
	pods, err := c.pods(ctx, l)
	if err != nil {
		return err
	}
	switch {
	case jobIs(l.job, batchv1.JobComplete):
		return c.finish(ctx, l, pods)
	case jobIs(l.job, batchv1.JobFailed):
		l.fail("EvaluationFailed", deathOf(l.e, pods, l.job))
		return nil
	}
	return c.progress(ctx, l, pods)
}

func jobIs(j *batchv1.Job, kind batchv1.JobConditionType) bool {
	return slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool { return c.Type == kind && c.Status == corev1.ConditionTrue })
}

// pods of the Job, the newest first.
func (c *Controller) pods(ctx context.Context, l *look) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := c.deps.Live.List(ctx, &list, client.InNamespace(l.e.Namespace), client.MatchingLabels{batchv1.JobNameLabel: l.job.Name})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of job %s: %w", l.job.Name, err)
	}
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return !metav1.IsControlledBy(&p, l.job) })
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	return pods, nil
}

// progress tells how far a pod is, or why there is none.
func (c *Controller) progress(ctx context.Context, l *look, pods []corev1.Pod) error {
	i := slices.IndexFunc(pods, judges)
	if i < 0 {
		why, err := c.waiting(ctx, l, pods)
		l.status.State, l.status.Message = v1alpha1.StatePending, clip(why, messageBytesMax)
		return err
	}
	l.status.State, l.status.Message = v1alpha1.StateRunning, ""
	from := Container
	if l.e.Spec.Program != nil {
		from = containerAnswer
		if running(&pods[i], containerProgram) {
			l.status.Message = "the program judges the answers"
		}
	}
	r, err := c.deps.Logs.Read(ctx, l.e.Namespace, pods[i].Name, from, tail)
	if err != nil {
		return nil //nolint:nilerr // progress only informs, and the next look reads it again
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, 64<<10))
	if done, total, ok := trial.Progress(text); err == nil && ok {
		l.status.Done, l.status.Total = done, total
	}
	return nil
}

// judges reports whether a pod is at work, after its data was copied.
func judges(p corev1.Pod) bool {
	return p.Status.Phase == corev1.PodRunning || p.Status.Phase == corev1.PodSucceeded || running(&p, containerAnswer) || running(&p, containerProgram)
}

func running(p *corev1.Pod, name string) bool {
	return slices.ContainsFunc(p.Status.InitContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == name && s.State.Running != nil })
}

// faulty: data, a model or the spec is at fault, so that another pod would not help.
func faulty(p *corev1.Pod) bool {
	return slices.ContainsFunc(slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses), func(s corev1.ContainerStatus) bool {
		return s.State.Terminated != nil && s.State.Terminated.ExitCode == exitWrong
	})
}

// waiting says why no pod runs.
func (c *Controller) waiting(ctx context.Context, l *look, pods []corev1.Pod) (string, error) {
	if len(pods) == 0 {
		if l.now.Sub(l.job.CreationTimestamp.Time) < warnAfter {
			return "the pod that judges is being started", nil
		}
		return c.warning(ctx, l)
	}
	p := &pods[0]
	if p.Status.Phase == corev1.PodFailed && faulty(p) {
		return lastWords(l.e, p), nil // and the Job fails at once
	}
	if p.Status.Phase == corev1.PodFailed {
		return "the pod died and is started again: " + lastWords(l.e, p), nil
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && w.Message != "" {
			return fmt.Sprintf("%s: %s", w.Reason, w.Message), nil
		}
	}
	for _, s := range p.Status.Conditions {
		if s.Type == corev1.PodScheduled && s.Status == corev1.ConditionFalse {
			return "no node takes the pod: " + s.Message, nil
		}
	}
	if running(p, containerData) {
		return "the data is being copied", nil
	}
	return "the pod that judges is being started", nil
}

// warning is the latest that upstream says of the Job.
func (c *Controller) warning(ctx context.Context, l *look) (string, error) {
	var list corev1.EventList
	err := c.deps.Live.List(ctx, &list, client.InNamespace(l.e.Namespace), client.MatchingFields{"involvedObject.uid": string(l.job.UID)})
	if err != nil {
		return "", fmt.Errorf("listing the events of job %s: %w", l.job.Name, err)
	}
	found := "no pod was made yet"
	for _, ev := range list.Items {
		if ev.Type == corev1.EventTypeWarning {
			found = ev.Reason + ": " + ev.Message
		}
	}
	return found, nil
}

// deathOf says why the Job failed.
func deathOf(e *v1alpha1.Evaluation, pods []corev1.Pod, j *batchv1.Job) string {
	if i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed }); i >= 0 {
		return lastWords(e, &pods[i])
	}
	for _, c := range j.Status.Conditions {
		if c.Type == batchv1.JobFailed && c.Message != "" {
			return c.Message
		}
	}
	return "its pod was removed before it ended"
}

// lastWords of a pod that died.
func lastWords(e *v1alpha1.Evaluation, p *corev1.Pod) string {
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		t := s.State.Terminated
		if t == nil || t.ExitCode == 0 {
			continue
		}
		said := oneLine(t.Message)
		switch {
		case t.Reason == "OOMKilled":
			return fmt.Sprintf("it ran out of memory (%s); raise spec.resources.memory, or judge fewer rows (spec.data.rows)", memory(e))
		case s.Name == containerData && said != "":
			return "its data could not be copied: " + said
		case s.Name == containerProgram && t.Reason == "StartError":
			return "the program could not be started; check that spec.program.command exists in the code or in the runtime, and that the runtime has /bin/sh"
		case s.Name == containerProgram:
			return strings.TrimSpace(fmt.Sprintf("the program that judges ended with exit code %d; %s", t.ExitCode, said))
		case t.ExitCode == exitWrong && said != "":
			return said
		case t.ExitCode > 128 && t.ExitCode < 160:
			return strings.TrimSpace(fmt.Sprintf("it was killed by signal %d; %s", t.ExitCode-128, said))
		}
		return strings.TrimSpace(fmt.Sprintf("it ended with exit code %d; %s", t.ExitCode, said))
	}
	if p.Status.Message != "" {
		return p.Status.Reason + ": " + p.Status.Message
	}
	return "its pod was stopped by the node (" + p.Status.Reason + ")"
}

// oneLine is the last line of a container's words, without the name of the program.
func oneLine(s string) string {
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(s, "?")), "\n")
	return clip(strings.TrimPrefix(lines[len(lines)-1], "polder-onnx: "), 1024)
}

// finish reads the report of a pod that ended well, keeps it and says what it says.
func (c *Controller) finish(ctx context.Context, l *look, pods []corev1.Pod) error {
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	if i < 0 { // removed, and with it its words: again
		l.status.State, l.status.Message = v1alpha1.StatePending, "the pod was removed before its report was read; it is started again"
		l.remove = l.job
		return nil
	}
	out, err := c.deps.Logs.Read(ctx, l.e.Namespace, pods[i].Name, Container, 0)
	if err != nil {
		return fmt.Errorf("reading the output of pod %s: %w", pods[i].Name, err)
	}
	defer out.Close()
	report, text, err := trial.ReadReport(out)
	if trouble := new(trial.Trouble); errors.As(err, &trouble) {
		return err
	}
	if err == nil {
		err = matches(report, l)
	}
	if err != nil {
		l.fail("NoReport", err.Error())
		return nil
	}
	reference := ""
	if m := l.status.Models[0].Model; m != nil {
		reference = m.Reference
	}
	ref, err := c.deps.Keeper.Keep(ctx, l.e, reference, text)
	if err != nil {
		return fmt.Errorf("keeping the report: %w", err)
	}
	l.succeed(report, &ref)
	return nil
}

// matches says whether a report is of what was asked.
func matches(r *eval.Report, l *look) error {
	if r.Task != task(l.e) || len(r.Models) != len(l.status.Models) || len(r.Requirements) != len(l.e.Spec.Requirements) {
		return errors.New("the pod reports of something else than it was asked")
	}
	for i, m := range r.Models {
		want := l.status.Models[i]
		digest := "" // which no service has, whatever it serves
		if want.Model != nil {
			digest = want.Model.Digest
		}
		if m.Name != want.Name || m.Digest != digest || m.Service != want.Service || m.Route != want.Route {
			return fmt.Errorf("the pod reports of model %s where it was asked of %s", clip(m.Name, 64), want.Name)
		}
	}
	return nil
}

// succeed takes the report's numbers into the status.
func (l *look) succeed(r *eval.Report, ref *v1alpha1.ReportReference) {
	s := &l.status
	for i, m := range r.Models {
		s.Models[i].Metrics, s.Models[i].By = map[string]v1alpha1.MetricValue{}, nil
		for _, o := range m.By {
			s.Models[i].By = append(s.Models[i].By, v1alpha1.EvaluationOrigin{
				Target: clip(o.Target, nameMax), Revision: clip(o.Revision, nameMax), Digest: clip(o.Digest, nameMax), Rows: o.Rows,
			})
		}
		for name, v := range m.Metrics {
			s.Models[i].Metrics[name] = metricValue(v)
		}
	}
	s.Comparisons = nil
	for _, c := range r.Comparisons {
		s.Comparisons = append(s.Comparisons, v1alpha1.EvaluationComparison{
			With: c.With, Metric: c.Metric, Difference: metricValue(c.Difference), P: decimal(c.Adjusted), Test: c.Test, Verdict: c.Verdict,
		})
	}
	s.Unmet = nil
	for _, j := range r.Requirements {
		if !j.Met {
			s.Unmet = append(s.Unmet, clip(j.Reason, 1024))
		}
	}
	s.Rows, s.Done, s.Total = r.Data.Rows, r.Data.Rows*int64(len(r.Models)), r.Data.Rows*int64(len(r.Models))
	if s.DataDigest == "" {
		s.DataDigest = r.Data.Digest
	}
	s.Verdict, s.Passed, s.Report = clip(r.Verdict, messageBytesMax), r.Passed, ref
	s.State, s.Message = v1alpha1.StateSucceeded, ""
	s.CompletionTime = &metav1.Time{Time: l.now}
	l.set(v1alpha1.ConditionComplete, metav1.ConditionTrue, "Judged", s.Verdict)
	l.again = time.Millisecond // to tidy up
}

func metricValue(m eval.Metric) v1alpha1.MetricValue {
	out := v1alpha1.MetricValue{Value: decimal(m.Value)}
	if m.Low != nil {
		out.Low, out.High = decimal(*m.Low), decimal(*m.High)
	}
	return out
}

// decimal is v with six digits that count, without an exponent.
func decimal(v float64) string {
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64)
	if err != nil {
		short = v
	}
	return strconv.FormatFloat(short, 'f', -1, 64)
}

// escaped keeps the kubelet from expanding $(NAME) in a variable's value.
func escaped(s string) string { return strings.ReplaceAll(s, "$", "$$") }
