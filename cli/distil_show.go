package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
)

func (o *options) distilList() *cobra.Command {
	var l v1alpha1.DistillationList
	return list(o, &l, &l.Items, listing[v1alpha1.Distillation]{
		use: "ls", what: "distillations", none: "start one with `polder distil run`", newest: true,
		head: []string{"NAMESPACE", "NAME", "STATE", "STAGE", "METHOD", "STUDENT", "HOURS", "AGE", "MESSAGE"}, row: distillationRow,
	})
}

func distillationRow(d *v1alpha1.Distillation, now time.Time) []string {
	student := "-"
	if d.Status.Model != nil {
		student = d.Status.Model.Name
	}
	message, _, _ := strings.Cut(d.Status.Message, "\n")
	return []string{
		d.Namespace, d.Name, or(string(d.Status.State), string(v1alpha1.StatePending)), or(d.Status.Stage, "-"), string(d.Spec.Method), student,
		or(d.Status.Used.AcceleratorHours, "-"), term.Age(d.CreationTimestamp.Time, now), message,
	}
}

func (o *options) distilShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show a distillation: its stages, what they used, and what came of it",
		Args: exactly("NAME"), ValidArgsFunction: o.completeDistillations,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		_, d, err := o.findDistillation(cmd, args[0])
		if err != nil {
			return err
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), d)
		}
		return printDistillation(cmd.OutOrStdout(), d)
	}
	return o.flags(cmd, "json")
}

func printDistillation(w io.Writer, d *v1alpha1.Distillation) error {
	s := &d.Status
	rows := [][]string{{"Distillation", d.Namespace + "/" + d.Name}, {"State", or(string(s.State), string(v1alpha1.StatePending))}}
	add := func(head, text string) {
		if text != "" {
			rows = append(rows, []string{head, text})
		}
	}
	add("Message", strings.ReplaceAll(s.Message, "\n", " "))
	add("Method", string(d.Spec.Method))
	add("Teacher", teacherOf(d))
	add("Student", or(d.Spec.Student.Recipe, "code of its own"))
	head := "Parameters"
	for _, k := range slices.Sorted(maps.Keys(d.Spec.Student.Parameters)) {
		rows = append(rows, []string{head, k + " = " + d.Spec.Student.Parameters[k]})
		head = ""
	}
	add("Used", or(s.Used.AcceleratorHours, "0")+" of "+or(d.Spec.Budget.AcceleratorHours, "unbounded")+" accelerator-hours")
	if s.Model != nil {
		add("Model", s.Model.Name+"@"+s.Model.Digest)
	}
	add("Evaluation", s.Evaluation)
	add("Verdict", s.Verdict)
	if err := term.Table(w, rows); err != nil || len(s.Stages) == 0 {
		return err
	}
	fmt.Fprintln(w)
	rows = [][]string{{"STAGE", "WORK", "STATE", "HOURS", "MESSAGE"}}
	for _, g := range s.Stages {
		message, _, _ := strings.Cut(g.Message, "\n")
		rows = append(rows, []string{g.Name, or(g.Job, "-"), or(string(g.State), string(v1alpha1.StatePending)), or(g.AcceleratorHours, "-"), message})
	}
	return term.Table(w, rows)
}

func teacherOf(d *v1alpha1.Distillation) string {
	t := d.Spec.Teacher
	switch {
	case t == nil:
		return ""
	case d.Status.Teacher != nil:
		return d.Status.Teacher.Name + "@" + d.Status.Teacher.Digest
	case t.Endpoint != nil:
		return t.Endpoint.Model + " at " + t.Endpoint.URL
	}
	return t.Model
}

// followDistillation shows how far d is until it ends.
func (o *options) followDistillation(cmd *cobra.Command, c *kube.Client, d *v1alpha1.Distillation) error {
	out := cmd.OutOrStdout()
	said := map[string]string{}
	var silent time.Time
	for {
		var now v1alpha1.Distillation
		err := c.Get(cmd.Context(), kube.Key(d.Namespace, d.Name), &now)
		switch {
		case err == nil && now.UID != d.UID, apierrors.IsNotFound(err):
			return fmt.Errorf("distillation %s was deleted", d.Name)
		case err == nil:
			silent = time.Time{}
			if !o.json() {
				tellStages(out, &now, said)
			}
			if now.Status.State.Done() {
				return o.distilled(out, &now)
			}
		case cmd.Context().Err() != nil:
			return cmd.Context().Err()
		case silent.IsZero():
			silent = time.Now()
		case time.Since(silent) > silenceMax:
			return fmt.Errorf("reading distillation %s: %w; it goes on, and `polder distil show %s` shows it when the cloud answers again", d.Name, err, d.Name)
		}
		if err := pause(cmd.Context(), lookEvery); err != nil {
			return err
		}
	}
}

// tellStages writes what is new of the stages.
func tellStages(w io.Writer, d *v1alpha1.Distillation, said map[string]string) {
	for _, g := range d.Status.Stages {
		message, _, _ := strings.Cut(g.Message, "\n")
		text := fmt.Sprintf("%-10s  %-9s  %s", g.Name, or(string(g.State), string(v1alpha1.StatePending)), message)
		if said[g.Name] != text {
			said[g.Name] = text
			fmt.Fprintln(w, strings.TrimRight(text, " "))
		}
	}
	if m := d.Status.Message; d.Status.State == v1alpha1.StatePending && m != "" && said[""] != m {
		said[""] = m
		fmt.Fprintln(w, "waiting:", m)
	}
}

// distilled tells how it ended.
func (o *options) distilled(w io.Writer, d *v1alpha1.Distillation) error {
	if o.json() {
		if err := printJSON(w, d); err != nil {
			return err
		}
	}
	if d.Status.State != v1alpha1.StateSucceeded {
		return fmt.Errorf("distillation %s ended, %s: %s", d.Name, d.Status.State, d.Status.Message)
	}
	if d.Status.Model == nil {
		return errors.New("the distillation ended well, without a model")
	}
	if !o.json() {
		fmt.Fprintf(w, "Model %s is %s. %s\nUsed: %s accelerator-hours.\n", d.Status.Model.Name, d.Status.Model.Digest, d.Status.Verdict, d.Status.Used.AcceleratorHours)
	}
	return nil
}
