package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/model"
	"polder.dev/polder/model/distil"
	"polder.dev/polder/recipes"
)

// planned is a stage before it is started.
type planned struct {
	Stage        string   `json:"stage"`
	What         string   `json:"what"`
	Workers      int32    `json:"workers"`
	Accelerators int32    `json:"accelerators"`
	Kinds        []string `json:"kinds,omitempty"`
	// Hours that it may use, by an earlier run; missing where nothing is known.
	Hours *float64 `json:"acceleratorHours,omitempty"`
	Of    string   `json:"by,omitempty"`
}

// distilPlan shows what a distillation would do.
func (o *options) distilPlan(cmd *cobra.Command, c *kube.Client, d *v1alpha1.Distillation) error {
	var past v1alpha1.DistillationList
	if err := c.List(cmd.Context(), &past, kube.InNamespace(d.Namespace)); err != nil {
		return fmt.Errorf("listing earlier distillations: %w", err)
	}
	answers, err := answersOf(cmd, c, d)
	if err != nil {
		return err
	}
	var stages []planned
	for _, s := range distil.Stages(d) {
		stages = append(stages, planStage(d, s, answers, past.Items))
	}
	if o.json() {
		return printJSON(cmd.OutOrStdout(), map[string]any{"stages": stages, "budget": d.Spec.Budget})
	}
	rows := [][]string{{"STAGE", "WHAT", "WORKERS", "ACCELERATORS", "HOURS"}}
	known, sum := true, 0.0
	for _, s := range stages {
		devices, hours := "-", "not known: nothing like it has run here"
		if s.Accelerators > 0 {
			devices = strings.TrimSpace(fmt.Sprintf("%d %s", s.Accelerators, strings.Join(s.Kinds, ",")))
		}
		if s.Hours != nil {
			sum += *s.Hours
			hours = distil.Format(*s.Hours)
			if s.Of != "" {
				hours += ", as in " + s.Of
			}
		} else {
			known = false
		}
		rows = append(rows, []string{s.Stage, s.What, fmt.Sprint(s.Workers), devices, hours})
	}
	if err := term.Table(cmd.OutOrStdout(), rows); err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	switch {
	case d.Spec.Budget.AcceleratorHours == "":
		fmt.Fprintln(w, "\nThere is no budget: nothing bounds what it uses. Set spec.budget.acceleratorHours, or --budget.")
	case known:
		fmt.Fprintf(w, "\nIt may use %s of %s accelerator-hours; what runs beyond them is ended.\n", distil.Format(sum), d.Spec.Budget.AcceleratorHours)
	default:
		fmt.Fprintf(w, "\nIt uses %s accelerator-hours at most; what runs beyond them is ended.\n", d.Spec.Budget.AcceleratorHours)
	}
	fmt.Fprintln(w, "Nothing was started.")
	return nil
}

func planStage(d *v1alpha1.Distillation, stage, answers string, past []v1alpha1.Distillation) planned {
	none := 0.0
	p := planned{Stage: stage, Workers: 1}
	switch stage {
	case distil.StageTeacher:
		p.What = teacherOf(d) + " answers"
		if answers != "" {
			p.What, p.Workers, p.Hours = "its answers are there: "+answers, 0, &none
			return p
		}
		p.Accelerators, p.Kinds = d.Spec.Teacher.Accelerators.Count, d.Spec.Teacher.Accelerators.Kinds
	case distil.StageStudent:
		p.What = "recipe " + d.Spec.Student.Recipe
		if d.Spec.Student.Recipe == "" {
			p.What = "code of its own"
		}
		p.Workers = max(1, d.Spec.Student.Workers)
		p.Accelerators, p.Kinds = d.Spec.Student.Accelerators.Count, d.Spec.Student.Accelerators.Kinds
	case distil.StageEvaluation:
		p.What = "judges the student"
		if n := len(d.Spec.Requirements); n > 0 {
			p.What += fmt.Sprintf(" by what is required (%d)", n)
		}
	}
	if g, ok := distil.Estimate(d, stage, past); ok {
		p.Hours, p.Of = &g.Hours, g.Of
	}
	return p
}

// answersOf names the answers of d's teacher, if they are there already.
func answersOf(cmd *cobra.Command, c *kube.Client, d *v1alpha1.Distillation) (string, error) {
	t := d.Spec.Teacher
	if !distil.Taught(d) || t == nil || d.Spec.Data.Bucket != nil {
		return "", nil
	}
	digest, err := recipes.Digest()
	if err != nil {
		return "", err
	}
	f := &distil.Found{Recipes: digest}
	_, f.DataDigest, _ = strings.Cut(d.Spec.Data.Image, "@")
	if d.Spec.Data.Dataset != "" {
		var set v1alpha1.Dataset
		if err := c.Get(cmd.Context(), kube.Key(d.Namespace, d.Spec.Data.Dataset), &set); err != nil {
			return "", ignoreMissing(err, "reading data set "+d.Spec.Data.Dataset)
		}
		f.DataDigest = set.Status.Digest
	}
	if f.DataDigest == "" {
		return "", nil
	}
	if t.Model != "" {
		v, err := versionOf(cmd, c, d.Namespace, t.Model)
		if err != nil || v == "" {
			return "", err
		}
		f.Teacher = &distil.Source{Digest: v}
	}
	name := distil.AnswersName(distil.Key(d, f))
	var m v1alpha1.Model
	if err := c.Get(cmd.Context(), kube.Key(d.Namespace, name), &m); err != nil {
		return "", ignoreMissing(err, "looking for the teacher's answers")
	}
	return name, nil
}

func ignoreMissing(err error, doing string) error {
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// versionOf is the digest of the version that text calls; "" if there is none yet.
func versionOf(cmd *cobra.Command, c *kube.Client, namespace, text string) (string, error) {
	n, err := model.ParseName(text)
	if err != nil {
		return "", err
	}
	var m v1alpha1.Model
	if err := c.Get(cmd.Context(), kube.Key(namespace, n.Model), &m); err != nil {
		return "", ignoreMissing(err, "reading model "+n.Model)
	}
	v, err := n.Find(&m)
	if err != nil {
		return "", nil // the plan says so when it is carried out
	}
	return v.Digest, nil
}
