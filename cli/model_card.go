package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/model/format"
	"polder.dev/polder/model/pack"
	"polder.dev/polder/model/registry"
)

// cardFileBytesMax is the most that is read of a version's own README.md.
const cardFileBytesMax = 4 << 20

// gone says that the registry has no such thing.
func gone(err error) bool { return errors.Is(err, registry.ErrNotFound) }

func (o *options) modelCard() *cobra.Command {
	var attach bool
	cmd := &cobra.Command{
		Use: "card " + versionName, Short: "Write a model card out of what is recorded, as Markdown",
		Args: exactly(versionName), ValidArgsFunction: o.completeVersions,
	}
	cmd.Flags().BoolVar(&attach, "attach", false, "also keep it in the registry, referring to the version")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		v, err := o.find(cmd, args[0])
		if err != nil {
			return err
		}
		a, err := v.ancestry(cmd.Context())
		if err != nil {
			return err
		}
		own, err := v.Artifact.ReadFile(cmd.Context(), "README.md", cardFileBytesMax)
		if err != nil && !errors.Is(err, pack.ErrNoFile) {
			return err
		}
		text := card(v, a, own)
		if attach {
			if _, err := pack.AttachTo(cmd.Context(), v.images, repository(v.Model), v.Artifact.Digest, pack.TypeCard, nil, []byte(text)); err != nil {
				return err
			}
		}
		fmt.Fprint(cmd.OutOrStdout(), text)
		return nil
	}
	return o.flags(cmd)
}

// card writes down the facts about a version, and what is not known. own is the
// version's own README.md, if it has one.
func card(v *edition, a *ancestry, own []byte) string {
	var b strings.Builder
	p := func(text string, args ...any) { fmt.Fprintf(&b, text+"\n", args...) }
	c, _ := format.ParseCard(own) // what cannot be read says nothing
	p("---")
	if v.Licence != "" {
		p("license: %q", v.Licence)
	}
	if len(c.Tags) > 0 {
		p("tags:")
		for _, t := range c.Tags {
			p("- %q", t)
		}
	}
	p("---")
	p("# %s\n", v.Model.Name)
	p("Version `%s`, %s, %s.", v.Digest, or(v.Framework, "framework not known"), term.Bytes(v.SizeBytes))
	if len(a.Aliases) > 0 {
		p("It is called `%s@%s`.", v.Model.Name, strings.Join(a.Aliases, "`, `"+v.Model.Name+"@"))
	}
	p("Licence: %s.", or(v.Licence, "**not known**"))
	if v.Digest == v.Model.Spec.Digest && v.Model.Spec.Classification != "" {
		p("Classification of its data: %s.", v.Model.Spec.Classification)
	}
	made(p, a)
	evaluated(p, v, a)
	limits(p, v, a)
	p("\n## Files\n\n| file | size | digest |\n|---|---|---|")
	for _, l := range v.Artifact.Manifest.Layers {
		p("| `%s` | %s | `%s` |", pack.Path(l), term.Bytes(l.Size), l.Digest)
	}
	p("\nWritten by `polder model card` out of what the cloud recorded.")
	return b.String()
}

// made tells what went in.
func made(p func(string, ...any), a *ancestry) {
	l := a.Lineage
	p("\n## Made of\n")
	switch {
	case l.Job != "":
		p("Trained by job `%s` (`%s`) with %s and %s.\n", l.Job, l.JobUID, plural(int64(l.Workers), "worker"), plural(int64(l.Restarts), "restart"))
	case l.Source != "":
		p("Imported: %s. How it was trained is not recorded.\n", l.Source)
	default:
		p("Nothing is recorded.\n")
	}
	for _, x := range jobBranches(l) {
		p("- %s", x.text)
	}
	for _, x := range a.Parents {
		p("- %s: %s `%s`", x.For, or(x.Name, "a model that is not in this namespace,"), x.Digest)
	}
}

// evaluated tells what was measured, apart: while it was trained, and by evaluations.
func evaluated(p func(string, ...any), v *edition, a *ancestry) {
	if len(v.Metrics) > 0 {
		p("\n## Metrics at the end of training\n\n| metric | value |\n|---|---|")
		for _, k := range slices.Sorted(maps.Keys(v.Metrics)) {
			p("| %s | %s |", k, v.Metrics[k])
		}
	}
	for _, e := range a.Evaluations {
		if e.State != v1alpha1.StateSucceeded {
			continue
		}
		p("\n## Evaluation %s\n", e.Name)
		p("%s\n\n| metric | value | 95 %% interval |\n|---|---|---|", or(e.Verdict, "No verdict."))
		for _, k := range slices.Sorted(maps.Keys(e.Metrics)) {
			m := e.Metrics[k]
			interval := "-"
			if m.Low != "" || m.High != "" {
				interval = m.Low + " to " + m.High
			}
			p("| %s | %s | %s |", k, m.Value, interval)
		}
	}
}

// limits tells what is not known.
func limits(p func(string, ...any), v *edition, a *ancestry) {
	p("\n## Limits\n")
	none := true
	say := func(text string) { none = false; p("- %s", text) }
	if !slices.ContainsFunc(a.Evaluations, func(e finding) bool { return e.State == v1alpha1.StateSucceeded }) {
		say("No evaluation has judged this version: how good it is on other data than its own is not known.")
	}
	if v.Licence == "" {
		say("Its licence is not known.")
	}
	if a.Lineage.Job == "" {
		say("What it was trained on is not recorded.")
	}
	for _, k := range slices.Sorted(maps.Keys(a.Lineage.Data)) {
		if a.Lineage.Data[k] == "" {
			say("Data " + k + " was not pinned by a digest.")
		}
	}
	if none {
		p("None beside those of the evaluations above.")
	}
}
