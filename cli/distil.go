package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model/distil"
	"polder.dev/polder/recipes"
)

// distillationFile is the name of the distillation's file in a directory.
const distillationFile = "distillation.yaml"

func (o *options) distil() *cobra.Command {
	cmd := &cobra.Command{Use: "distil", Short: "Make a small model of a large one"}
	cmd.AddCommand(o.distilRun(), o.distilList(), o.distilShow(), o.distilCancel(), o.distilBudget(), o.distilRemove(), o.distilRecipes())
	return cmd
}

// request is what `polder distil run` was asked to do.
type request struct {
	path       string
	name       string
	parameters map[string]string
	hours      string
	plan       bool
	follow     bool
	replace    bool
}

func (o *options) distilRun() *cobra.Command {
	var q request
	cmd := &cobra.Command{
		Use:   "run FILE|DIR",
		Short: "Start a distillation, or show what it would do",
		Long: `Start a distillation from a file of kind Distillation, or from a directory with a file
distillation.yaml in it: the teacher answers the data, the student learns from its
answers, an evaluation judges it, and a student that has learned something and meets
the requirements becomes a version of the output's Model. With --plan nothing is
started: the stages are shown, with what they may use of the budget.`,
		Example: "  polder distil run examples/ocr-digits/distillation.yaml --plan\n  polder distil run examples/ocr-digits --follow",
		Args:    exactly("FILE or DIR"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q.path = args[0]
		d, err := q.read(cmd.InOrStdin())
		if err != nil {
			return err
		}
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		if o.namespace != "" || d.Namespace == "" {
			d.Namespace = c.Namespace
		}
		if err := c.Create(cmd.Context(), d.DeepCopy(), kube.DryRun()); err != nil && !apierrors.IsAlreadyExists(err) {
			return q.refused(d, err)
		}
		if q.plan {
			return o.distilPlan(cmd, c, d)
		}
		if err := q.create(cmd.Context(), c, d); err != nil {
			return err
		}
		if q.follow {
			return o.followDistillation(cmd, c, d)
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), d)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Distillation %s is submitted; `polder distil show %s` shows how far it is.\n", d.Name, d.Name)
		return nil
	}
	cmd.Flags().StringVar(&q.name, "name", "", "name of the distillation, instead of the file's")
	cmd.Flags().StringToStringVar(&q.parameters, "param", nil, "parameter of the recipe, as name=value; may be repeated")
	cmd.Flags().StringVar(&q.hours, "budget", "", "accelerator-hours at most, instead of the file's")
	cmd.Flags().BoolVar(&q.plan, "plan", false, "show the stages and what they may use, and start nothing")
	cmd.Flags().BoolVar(&q.replace, "replace", false, "remove an earlier distillation of this name that has ended")
	cmd.Flags().BoolVarP(&q.follow, "follow", "f", false, "show progress until the end; the exit code is 0 when the student is registered")
	cmd.MarkFlagsMutuallyExclusive("plan", "follow")
	return o.flags(cmd, "json")
}

// read reads the distillation's file and says what is wrong in it.
func (q *request) read(stdin io.Reader) (*v1alpha1.Distillation, error) {
	text, err := q.text(stdin)
	if err != nil {
		return nil, err
	}
	var d v1alpha1.Distillation
	if err := readObject(text, "Distillation", &d); err != nil {
		return nil, usage.Errorf("%s: %w", q.path, err)
	}
	d.Status = v1alpha1.DistillationStatus{}
	d.Name = or(q.name, d.Name)
	if d.Name == "" {
		return nil, usage.Errorf("%s: metadata.name is missing; give the distillation a name there, or with --name", q.path)
	}
	if len(q.parameters) > 0 && d.Spec.Student.Parameters == nil {
		d.Spec.Student.Parameters = map[string]string{}
	}
	maps.Copy(d.Spec.Student.Parameters, q.parameters)
	d.Spec.Budget.AcceleratorHours = or(q.hours, d.Spec.Budget.AcceleratorHours)
	if err := distil.Check(&d); err != nil {
		return nil, usage.Errorf("%s: %s", q.path, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return &d, nil
}

func (q *request) text(stdin io.Reader) ([]byte, error) {
	if q.path == "-" {
		return io.ReadAll(stdin)
	}
	info, err := os.Stat(q.path)
	if err != nil {
		return nil, usage.Errorf("%s: %w; name a file of kind Distillation, or a directory with %s in it", q.path, errors.Unwrap(err), distillationFile)
	}
	if info.IsDir() {
		q.path = filepath.Join(q.path, distillationFile)
	}
	text, err := os.ReadFile(q.path)
	if err != nil {
		return nil, usage.Errorf("reading distillation: %w", err)
	}
	return text, nil
}

func (q *request) create(ctx context.Context, c *kube.Client, d *v1alpha1.Distillation) error {
	var have v1alpha1.Distillation
	err := c.Get(ctx, kube.Key(d.Namespace, d.Name), &have)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("looking for an earlier distillation: %w", err)
	case !have.Status.State.Done():
		return usage.Errorf("%s: distillation %s is there and has not ended; cancel it with `polder distil cancel %s`, or choose another name with --name", q.path, d.Name, d.Name)
	case !q.replace:
		return usage.Errorf("%s: distillation %s is there and has ended; give --replace to remove it first, or another name with --name", q.path, d.Name)
	default:
		if err := removeDistillation(ctx, c, &have); err != nil {
			return err
		}
	}
	if err := c.Create(ctx, d); err != nil {
		return q.refused(d, err)
	}
	return nil
}

// refused says why the API server did not take the distillation.
func (q *request) refused(d *v1alpha1.Distillation, err error) error {
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		return usage.Errorf("%s: %w", q.path, err)
	}
	return fmt.Errorf("creating distillation %s: %w", d.Name, err)
}

func (o *options) distilCancel() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cancel NAME", Short: "End a distillation; answers that the teacher has given are kept",
		Args: exactly("NAME"), ValidArgsFunction: o.completeDistillations,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, d, err := o.findDistillation(cmd, args[0])
		if err != nil {
			return err
		}
		if d.Status.State.Done() {
			return usage.Errorf("distillation %s has ended already: %s", d.Name, d.Status.State)
		}
		old := d.DeepCopy()
		d.Spec.Cancel = true
		if err := c.Patch(cmd.Context(), d, kube.Changes(old)); err != nil {
			return fmt.Errorf("cancelling distillation %s: %w", d.Name, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Distillation %s is being cancelled.\n", d.Name)
		return nil
	}
	return o.flags(cmd)
}

func (o *options) distilBudget() *cobra.Command {
	cmd := &cobra.Command{
		Use: "budget NAME HOURS", Short: "Change how many accelerator-hours a distillation that runs may use",
		Args: exactly("NAME", "HOURS"), ValidArgsFunction: o.completeDistillations,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		budget := v1alpha1.Budget{AcceleratorHours: args[1]}
		if _, err := distil.Hours(budget); err != nil {
			return usage.Errorf("HOURS: %q is no number of hours above 0, such as 1.5", args[1])
		}
		c, d, err := o.findDistillation(cmd, args[0])
		if err != nil {
			return err
		}
		if d.Status.State.Done() {
			return usage.Errorf("distillation %s has ended already: %s; start it again with --replace and --budget, and the answers that are there are taken", d.Name, d.Status.State)
		}
		old := d.DeepCopy()
		d.Spec.Budget = budget
		if err := c.Patch(cmd.Context(), d, kube.Changes(old)); err != nil {
			return usage.Errorf("changing the budget of %s: %w", d.Name, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Distillation %s may use %s accelerator-hours; it has used %s.\n", d.Name, args[1], or(d.Status.Used.AcceleratorHours, "none"))
		return nil
	}
	return o.flags(cmd)
}

func (o *options) distilRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm NAME", Short: "Remove a distillation with its jobs and its evaluation; models and answers stay",
		Args: exactly("NAME"), ValidArgsFunction: o.completeDistillations,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, d, err := o.findDistillation(cmd, args[0])
		if err != nil {
			return err
		}
		if err := removeDistillation(cmd.Context(), c, d); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Distillation %s is removed.\n", d.Name)
		return nil
	}
	return o.flags(cmd)
}

// removeDistillation removes d and all that it owns, and waits until they are gone.
func removeDistillation(ctx context.Context, c *kube.Client, d *v1alpha1.Distillation) error {
	if err := c.Delete(ctx, d, kube.InForeground); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing distillation %s: %w", d.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		var now v1alpha1.Distillation
		err := c.Get(ctx, kube.Key(d.Namespace, d.Name), &now)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			err = pause(ctx, lookEvery)
		}
		if err != nil {
			return fmt.Errorf("waiting until distillation %s is gone: %w", d.Name, err)
		}
	}
}

func (o *options) distilRecipes() *cobra.Command {
	cmd := &cobra.Command{
		Use: "recipes [NAME]", Short: "List the programs by which students learn, or print one",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage.Errorf("%s takes one NAME at most, got %d", cmd.CommandPath(), len(args))
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) (out []string, _ cobra.ShellCompDirective) {
			all, err := recipes.All()
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			for _, r := range all {
				out = append(out, r.Name+"\t"+r.What)
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		all, err := recipes.All()
		if err != nil {
			return err
		}
		if len(args) == 1 {
			i := slices.IndexFunc(all, func(r recipes.Recipe) bool { return r.Name == args[0] })
			if i < 0 {
				return usage.Errorf("there is no recipe %s; `polder distil recipes` lists those there are", args[0])
			}
			_, err := io.WriteString(cmd.OutOrStdout(), all[i].Text)
			return err
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), all)
		}
		rows := [][]string{{"NAME", "WHAT"}}
		for _, r := range all {
			rows = append(rows, []string{r.Name, r.What})
		}
		return term.Table(cmd.OutOrStdout(), rows)
	}
	return o.flags(cmd, "json")
}

func (o *options) findDistillation(cmd *cobra.Command, name string) (*kube.Client, *v1alpha1.Distillation, error) {
	c, err := o.open(cmd)
	if err != nil {
		return nil, nil, err
	}
	var found v1alpha1.Distillation
	return c, &found, read(cmd.Context(), c, name, &found, "distillation", "distil ls -A")
}

func (o *options) completeDistillations(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var l v1alpha1.DistillationList
	return completeNames(o, cmd, args, &l, &l.Items)
}
