package cli

import (
	"bytes"
	"encoding/json"
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
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model/pack"
	"polder.dev/polder/model/registry"
)

// metricsFile is the name of the training metrics in a model.
const metricsFile = "metrics.jsonl"

const metricsBytesMax = 64 << 20

func (o *options) model() *cobra.Command {
	cmd := &cobra.Command{Use: "model", Short: "List, show and fetch models"}
	cmd.AddCommand(o.modelList(), o.modelShow(), o.modelPull(), o.modelRemove())
	return cmd
}

func (o *options) modelList() *cobra.Command {
	var all bool
	cmd := &cobra.Command{Use: "ls", Short: "List models", Args: cobra.NoArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		namespace := c.Namespace
		if all {
			namespace = ""
		}
		var list v1alpha1.ModelList
		if err := c.List(cmd.Context(), &list, kube.InNamespace(namespace)); err != nil {
			return fmt.Errorf("listing models: %w", err)
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), list.Items)
		}
		if len(list.Items) == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "There are no models; `polder train` makes one.")
			return nil
		}
		rows := [][]string{{"NAMESPACE", "NAME", "FRAMEWORK", "SIZE", "METRICS", "JOB", "DIGEST", "AGE"}}
		for _, m := range list.Items {
			rows = append(rows, []string{
				m.Namespace, m.Name, or(m.Spec.Framework, "-"), term.Bytes(m.Spec.SizeBytes), mainMetric(m.Spec.Metrics), or(m.Spec.Lineage.Job, "-"),
				m.Spec.Digest, term.Age(m.CreationTimestamp.Time, time.Now()),
			})
		}
		return term.Table(cmd.OutOrStdout(), rows)
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "those of all namespaces")
	return o.flags(cmd, "json")
}

// mainMetric picks what a model is best known by.
func mainMetric(m map[string]string) string {
	for _, k := range []string{"test_accuracy", "accuracy", "val_accuracy", "loss"} {
		if v, ok := m[k]; ok {
			return k + "=" + shortNumber(v)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		return k + "=" + shortNumber(m[k])
	}
	return "-"
}

// find reads the Model called name and its artifact: the one of digest if that
// is not empty, be it the model's present one or an earlier one.
func (o *options) find(cmd *cobra.Command, name, digest string) (*kube.Client, *v1alpha1.Model, *pack.Artifact, error) {
	c, err := o.open(cmd)
	if err != nil {
		return nil, nil, nil, err
	}
	var m v1alpha1.Model
	err = c.Get(cmd.Context(), kube.Key(c.Namespace, name), &m)
	if apierrors.IsNotFound(err) {
		return nil, nil, nil, usage.Errorf("there is no model %s in namespace %s; `polder model ls -A` lists all", name, c.Namespace)
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("reading model %s: %w", name, err)
	}
	images, err := store(cmd.Context(), c)
	if err != nil {
		return nil, nil, nil, err
	}
	if digest == "" {
		a, err := pack.Find(cmd.Context(), images, m.Spec.Reference)
		return c, &m, a, err
	}
	repository, _, _ := strings.Cut(m.Spec.Reference, "@")
	if _, err := registry.Parse(repository + "@" + digest); err != nil {
		return nil, nil, nil, usage.Error(err)
	}
	a, err := pack.Find(cmd.Context(), images, repository+"@"+digest)
	if errors.Is(err, registry.ErrNotFound) {
		err = usage.Error(err)
	}
	return c, &m, a, err
}

func (o *options) modelShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show a model: what went in, what it holds, and how it learned",
		Args: exactly("NAME"), ValidArgsFunction: o.completeModels,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		_, m, a, err := o.find(cmd, args[0], "")
		if err != nil {
			return err
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), m)
		}
		text, err := a.ReadFile(cmd.Context(), metricsFile, metricsBytesMax)
		if err != nil && !errors.Is(err, pack.ErrNoFile) {
			return err
		}
		return printModel(cmd.OutOrStdout(), m, a, losses(text))
	}
	return o.flags(cmd, "json")
}

func printModel(w io.Writer, m *v1alpha1.Model, a *pack.Artifact, loss []float64) error {
	l := m.Spec.Lineage
	rows := [][]string{
		{"Model", m.Namespace + "/" + m.Name}, {"Digest", m.Spec.Digest}, {"Reference", m.Spec.Reference},
		{"Size", term.Bytes(m.Spec.SizeBytes)}, {"Framework", or(m.Spec.Framework, "-")}, {"Licence", or(m.Spec.Licence, "-")},
		{"Made", m.CreationTimestamp.Format(time.RFC3339)},
	}
	add := func(head string, m map[string]string) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			rows = append(rows, []string{head, k + " = " + m[k]})
			head = ""
		}
	}
	add("Metrics", m.Spec.Metrics)
	if l.Job != "" {
		rows = append(rows, []string{"Job", fmt.Sprintf("%s (%s), %d workers, %d restarts", l.Job, l.JobUID, l.Workers, l.Restarts)},
			[]string{"Runtime", l.Runtime + " " + l.RuntimeDigest}, []string{"Code", l.CodeDigest})
	}
	add("Data", l.Data)
	add("Parameters", l.Parameters)
	head := "Files"
	for _, f := range a.Manifest.Layers {
		rows = append(rows, []string{head, fmt.Sprintf("%s  %s", pack.Path(f), term.Bytes(f.Size))})
		head = ""
	}
	if err := term.Table(w, rows); err != nil {
		return err
	}
	const height = 8
	if curve := term.Curve(loss, min(term.Width(w)-12, 72), height); curve != "" {
		fmt.Fprintf(w, "\nLoss by epoch\n%s", curve)
	}
	return nil
}

// losses reads the loss of each epoch out of a metrics file. Where workers began
// again from a checkpoint, what came later counts.
func losses(text []byte) []float64 {
	var out []float64
	for text := range bytes.Lines(text) {
		var line struct {
			Event string
			Epoch int
			Loss  *float64
		}
		if json.Unmarshal(text, &line) != nil || line.Event != "epoch" || line.Loss == nil || line.Epoch < 1 || line.Epoch > len(out)+1 {
			continue
		}
		out = append(out[:line.Epoch-1], *line.Loss)
	}
	return out
}

func (o *options) modelPull() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pull NAME[@DIGEST] DIR", Short: "Fetch a model's files by digest, and check them",
		Args: exactly("NAME[@DIGEST]", "DIR"), ValidArgsFunction: o.completeModels,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, digest, _ := strings.Cut(args[0], "@")
		_, m, a, err := o.find(cmd, name, digest)
		if err != nil {
			return err
		}
		progress, end := meter(cmd.ErrOrStderr(), args[0])
		err = a.Pull(cmd.Context(), args[1], progress)
		end()
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %d files in %s, all as their digests say.\n", m.Name, a.Digest, len(a.Manifest.Layers), args[1])
		return nil
	}
	return o.flags(cmd)
}

func (o *options) modelRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm NAME", Short: "Remove a model and its artifact",
		Args: exactly("NAME"), ValidArgsFunction: o.completeModels,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, m, _, err := o.find(cmd, args[0], "")
		if err != nil {
			return err
		}
		images, err := store(cmd.Context(), c)
		if err != nil {
			return err
		}
		if err := c.Delete(cmd.Context(), m); err != nil {
			return fmt.Errorf("removing model %s: %w", m.Name, err)
		}
		if err := images.Remove(cmd.Context(), m.Spec.Reference); err != nil {
			return fmt.Errorf("model %s is removed, its artifact is not: %w", m.Name, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Model %s is removed.\n", m.Name)
		return nil
	}
	return o.flags(cmd)
}

func (o *options) completeModels(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	c, err := o.open(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var list v1alpha1.ModelList
	if err := c.List(cmd.Context(), &list, kube.InNamespace(c.Namespace)); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, m := range list.Items {
		names = append(names, m.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
