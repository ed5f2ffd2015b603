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

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/model/pack"
)

// metricsFile is the name of the training metrics in a model.
const metricsFile = "metrics.jsonl"

const metricsBytesMax = 64 << 20

// versionName is how verbs call a version.
const versionName = "NAME[@ALIAS|@DIGEST]"

func (o *options) modelShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show " + versionName, Short: "Show a model: what went in, what it holds, what it is called, and how it learned",
		Args: exactly(versionName), ValidArgsFunction: o.completeVersions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		v, err := o.find(cmd, args[0])
		if err != nil {
			return err
		}
		attached, err := pack.Referrers(cmd.Context(), v.images, repository(v.Model), v.Artifact.Digest, "")
		if err != nil {
			return err
		}
		if o.json() {
			if strings.Contains(args[0], "@") {
				return printJSON(cmd.OutOrStdout(), map[string]any{"version": v.ModelVersion, "lineage": v.Lineage, "aliases": aliasesOf(v.Model, v.Digest), "attached": attached})
			}
			return printJSON(cmd.OutOrStdout(), v.Model)
		}
		text, err := v.Artifact.ReadFile(cmd.Context(), metricsFile, metricsBytesMax)
		if err != nil && !errors.Is(err, pack.ErrNoFile) {
			return err
		}
		return printModel(cmd.OutOrStdout(), v, attached, losses(text))
	}
	return o.flags(cmd, "json")
}

// kinds of what refers to a version, for people.
var kinds = map[string]string{
	pack.TypeLineage: "lineage", pack.TypeEvaluation: "report of an evaluation", pack.TypeCard: "model card", pack.VolumeType: "volume for pods",
	pack.TypeSignature: "signature (not verified)", pack.TypeBundle: "signature (not verified)",
}

func printModel(w io.Writer, v *edition, attached []pack.Referrer, loss []float64) error {
	l, m := v.Lineage, v.Model
	made := m.CreationTimestamp
	if v.Time != nil {
		made = *v.Time
	}
	rows := [][]string{
		{"Model", m.Namespace + "/" + m.Name}, {"Digest", v.Digest}, {"Reference", v.Reference},
		{"Size", term.Bytes(v.SizeBytes)}, {"Framework", or(v.Framework, "-")}, {"Licence", or(v.Licence, "-")},
		{"Made", made.Format(time.RFC3339)},
	}
	if v.Digest == m.Spec.Digest && m.Spec.Classification != "" {
		rows = append(rows, []string{"Class", m.Spec.Classification})
	}
	add := func(head string, m map[string]string) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			rows = append(rows, []string{head, k + " = " + m[k]})
			head = ""
		}
	}
	rows = append(rows, aliasRows(m, v.Digest)...)
	add("Metrics", v.Metrics)
	if l.Source != "" {
		rows = append(rows, []string{"Imported", l.Source})
	}
	if l.Job != "" {
		rows = append(rows, []string{"Job", fmt.Sprintf("%s (%s), %d workers, %d restarts", l.Job, l.JobUID, l.Workers, l.Restarts)},
			[]string{"Runtime", l.Runtime + " " + l.RuntimeDigest}, []string{"Code", l.CodeDigest})
	}
	add("Parents", l.Parents)
	add("Data", l.Data)
	add("Parameters", l.Parameters)
	head := "Files"
	for _, f := range v.Artifact.Manifest.Layers {
		rows = append(rows, []string{head, fmt.Sprintf("%s  %s", pack.Path(f), term.Bytes(f.Size))})
		head = ""
	}
	head = "Attached"
	for _, r := range attached {
		rows = append(rows, []string{head, or(kinds[r.ArtifactType], r.ArtifactType) + "  " + r.Digest.String()})
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

// aliasRows tell what aliases mean the version, and which do not hold yet.
func aliasRows(m *v1alpha1.Model, digest string) [][]string {
	var rows [][]string
	head := "Aliases"
	add := func(text string) {
		rows = append(rows, []string{head, text})
		head = ""
	}
	for _, a := range m.Status.Aliases {
		if a.Digest != digest {
			continue
		}
		text := a.Name
		if a.Since != nil {
			text += " since " + a.Since.Format(time.RFC3339)
		}
		if a.Evaluation != "" {
			text += ", by evaluation " + a.Evaluation
		}
		if a.Reason != "" {
			text += ": " + a.Reason
		}
		add(text)
	}
	if c := promoted(m); c != nil && c.Status != "True" {
		add(c.Message)
	}
	return rows
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
		Use: "pull " + versionName + " DIR", Short: "Fetch a model's files by digest, and check them",
		Args: exactly(versionName, "DIR"), ValidArgsFunction: o.completeVersions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		v, err := o.find(cmd, args[0])
		if err != nil {
			return err
		}
		progress, end := meter(cmd.ErrOrStderr(), args[0])
		err = v.Artifact.Pull(cmd.Context(), args[1], progress)
		end()
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %d files in %s, all as their digests say.\n", v.Model.Name, v.Digest, len(v.Artifact.Manifest.Layers), args[1])
		return nil
	}
	return o.flags(cmd)
}

func (o *options) modelVersions() *cobra.Command {
	cmd := &cobra.Command{
		Use: "versions NAME", Short: "List the versions of a model, the newest first",
		Args: exactly("NAME"), ValidArgsFunction: o.completeModels,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		m, _, err := readModel(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), m.Status.Versions)
		}
		return term.Table(cmd.OutOrStdout(), versionRows(m, time.Now()))
	}
	return o.flags(cmd, "json")
}

func versionRows(m *v1alpha1.Model, now time.Time) [][]string {
	rows := [][]string{{"DIGEST", "ALIASES", "METRICS", "LICENCE", "SIZE", "JOB", "AGE"}}
	for _, v := range m.Status.Versions {
		age := "-"
		if v.Time != nil {
			age = term.Age(v.Time.Time, now)
		}
		rows = append(rows, []string{
			v.Digest, or(strings.Join(aliasesOf(m, v.Digest), ","), "-"), mainMetric(v.Metrics), or(v.Licence, "-"), term.Bytes(v.SizeBytes), or(v.Job, "-"), age,
		})
	}
	return rows
}
