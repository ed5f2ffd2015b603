package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/model/pack"
)

// ancestorsMax is how far lineage is followed from parent to parent.
const ancestorsMax = 8

// ancestry is a version and what it was made of.
type ancestry struct {
	// Name of the Model; empty: the namespace has none with this version any more.
	Name    string   `json:"name,omitempty"`
	Digest  string   `json:"digest"`
	For     string   `json:"for,omitempty"`
	Aliases []string `json:"aliases,omitempty"`
	Licence string   `json:"licence,omitempty"`

	Lineage     v1alpha1.Lineage `json:"lineage,omitzero"`
	Parents     []ancestry       `json:"parents,omitempty"`
	Evaluations []finding        `json:"evaluations,omitempty"`
	Attached    []pack.Referrer  `json:"attached,omitempty"`
}

// finding is an evaluation of a version, in short.
type finding struct {
	Name    string                          `json:"name"`
	State   v1alpha1.State                  `json:"state"`
	Passed  bool                            `json:"passed"`
	Verdict string                          `json:"verdict,omitempty"`
	Metrics map[string]v1alpha1.MetricValue `json:"metrics,omitempty"`
}

func (o *options) modelLineage() *cobra.Command {
	cmd := &cobra.Command{
		Use: "lineage " + versionName, Short: "Show what a version was made of, as far back as is known, and what was found out about it",
		Args: exactly(versionName), ValidArgsFunction: o.completeVersions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		v, err := o.find(cmd, args[0])
		if err != nil {
			return err
		}
		a, err := v.ancestry(cmd.Context())
		if err != nil {
			return err
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), a)
		}
		drawAncestry(cmd.OutOrStdout(), a)
		return nil
	}
	return o.flags(cmd, "json")
}

// ancestry reads what is known of v and of its parents.
func (v *edition) ancestry(ctx context.Context) (*ancestry, error) {
	var models v1alpha1.ModelList
	if err := v.client.List(ctx, &models, kube.InNamespace(v.Model.Namespace)); err != nil {
		return nil, fmt.Errorf("listing models: %w", err)
	}
	judged, err := evaluations(ctx, v.client)
	if err != nil {
		return nil, err
	}
	return v.ancestors(ctx, models.Items, judged, map[string]bool{})
}

// evaluations of the namespace, or none where they may not be read.
func evaluations(ctx context.Context, c *kube.Client) ([]v1alpha1.Evaluation, error) {
	var list v1alpha1.EvaluationList
	err := c.List(ctx, &list, kube.InNamespace(c.Namespace))
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing evaluations: %w", err)
	}
	return list.Items, nil
}

func (v *edition) ancestors(ctx context.Context, models []v1alpha1.Model, judged []v1alpha1.Evaluation, seen map[string]bool) (*ancestry, error) {
	seen[v.Digest] = true
	defer delete(seen, v.Digest)
	out := &ancestry{Name: v.Model.Name, Digest: v.Digest, Aliases: aliasesOf(v.Model, v.Digest), Licence: v.Licence, Lineage: v.Lineage, Evaluations: findings(judged, v.Digest)}
	var err error
	if out.Attached, err = pack.Referrers(ctx, v.images, repository(v.Model), v.Artifact.Digest, ""); err != nil {
		return nil, err
	}
	for _, role := range slices.Sorted(maps.Keys(v.Lineage.Parents)) {
		d := v.Lineage.Parents[role]
		parent := &ancestry{Digest: d}
		if m, known := modelWith(models, d); m != nil && !seen[d] && len(seen) < ancestorsMax {
			p := &edition{Model: m, ModelVersion: known, client: v.client, images: v.images}
			if p.Artifact, err = pack.Find(ctx, v.images, p.Reference); err == nil {
				err = p.readLineage()
			}
			if err != nil && !gone(err) {
				return nil, err
			}
			if err == nil {
				if parent, err = p.ancestors(ctx, models, judged, seen); err != nil {
					return nil, err
				}
			}
		}
		parent.For = role
		out.Parents = append(out.Parents, *parent)
	}
	return out, nil
}

// modelWith finds the version of a digest among models.
func modelWith(models []v1alpha1.Model, d string) (*v1alpha1.Model, v1alpha1.ModelVersion) {
	for i := range models {
		for _, v := range models[i].Status.Versions {
			if v.Digest == d {
				return &models[i], v
			}
		}
	}
	return nil, v1alpha1.ModelVersion{}
}

// findings are the evaluations whose candidate was the version.
func findings(all []v1alpha1.Evaluation, digest string) []finding {
	var out []finding
	for _, e := range all {
		if s := e.Status; len(s.Models) > 0 && s.Models[0].Model != nil && s.Models[0].Model.Digest == digest {
			out = append(out, finding{e.Name, s.State, s.Passed, s.Verdict, s.Models[0].Metrics})
		}
	}
	return out
}

// branch is a line of the tree, and what hangs below it.
type branch struct {
	text  string
	below []branch
}

func drawAncestry(w io.Writer, a *ancestry) {
	b := a.branch()
	fmt.Fprintln(w, b.text)
	drawBranches(w, b.below, "")
}

func drawBranches(w io.Writer, all []branch, indent string) {
	for i, b := range all {
		joint, next := "├─ ", "│  "
		if i == len(all)-1 {
			joint, next = "└─ ", "   "
		}
		fmt.Fprintln(w, indent+joint+b.text)
		drawBranches(w, b.below, indent+next)
	}
}

func (a *ancestry) branch() branch {
	b := branch{text: strings.TrimSpace(a.Name + " " + a.Digest)}
	if a.For != "" {
		b.text = a.For + ": " + b.text
	}
	if len(a.Aliases) > 0 {
		b.text += "  @" + strings.Join(a.Aliases, " @")
	}
	if a.Name == "" {
		b.text += "  (no model of this namespace has it)"
		return b
	}
	add := func(text string, below ...branch) { b.below = append(b.below, branch{text, below}) }
	l := a.Lineage
	if l.Source != "" {
		add("imported: " + l.Source)
	}
	if l.Job != "" {
		add(fmt.Sprintf("job %s (%s), %s, %s", l.Job, l.JobUID, plural(int64(l.Workers), "worker"), plural(int64(l.Restarts), "restart")), jobBranches(l)...)
	}
	for i := range a.Parents {
		b.below = append(b.below, a.Parents[i].branch())
	}
	for _, e := range a.Evaluations {
		state := string(e.State)
		if e.State == v1alpha1.StateSucceeded {
			state = map[bool]string{true: "passed", false: "not passed"}[e.Passed]
		}
		add(strings.TrimSuffix(fmt.Sprintf("evaluation %s: %s. %s", e.Name, state, e.Verdict), ". "))
	}
	for _, r := range a.Attached {
		add("attached: " + or(kinds[r.ArtifactType], r.ArtifactType) + " " + r.Digest.String())
	}
	if a.Licence != "" {
		add("licence " + a.Licence)
	}
	return b
}

func jobBranches(l v1alpha1.Lineage) []branch {
	var out []branch
	if l.Runtime != "" {
		out = append(out, branch{text: strings.TrimSpace("runtime " + l.Runtime + " " + l.RuntimeDigest)})
	}
	if l.CodeDigest != "" {
		out = append(out, branch{text: "code " + l.CodeDigest})
	}
	for _, k := range slices.Sorted(maps.Keys(l.Data)) {
		out = append(out, branch{text: strings.TrimSpace("data " + k + " " + l.Data[k])})
	}
	for _, k := range slices.Sorted(maps.Keys(l.Parameters)) {
		out = append(out, branch{text: "parameter " + k + " = " + l.Parameters[k]})
	}
	return out
}
