package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model"
	"polder.dev/polder/model/pack"
	"polder.dev/polder/model/registry"
)

func (o *options) model() *cobra.Command {
	cmd := &cobra.Command{Use: "model", Short: "List, show, import, promote and fetch models"}
	cmd.AddCommand(o.modelList(), o.modelShow(), o.modelVersions(), o.modelLineage(), o.modelDiff(), o.modelCard(), o.modelPromote(), o.modelRollback(), o.modelGate(),
		o.modelPush(), o.modelPull(), o.modelRemove())
	return cmd
}

func (o *options) modelList() *cobra.Command {
	var l v1alpha1.ModelList
	return list(o, &l, &l.Items, listing[v1alpha1.Model]{
		use: "ls", what: "models", none: "`polder train` makes one, `polder model push` imports one",
		head: []string{"NAMESPACE", "NAME", "FRAMEWORK", "SIZE", "METRICS", "JOB", "ALIASES", "DIGEST", "AGE"}, row: modelRow,
	})
}

func modelRow(m *v1alpha1.Model, now time.Time) []string {
	return []string{
		m.Namespace, m.Name, or(m.Spec.Framework, "-"), term.Bytes(m.Spec.SizeBytes), mainMetric(m.Spec.Metrics), or(m.Spec.Lineage.Job, "-"),
		or(strings.Join(aliasesOf(m, ""), ","), "-"), m.Spec.Digest, term.Age(m.CreationTimestamp.Time, now),
	}
}

// mainMetric picks what a model is best known by.
func mainMetric(m map[string]string) string {
	for _, k := range []string{"test_reward", "test_accuracy", "accuracy", "val_accuracy", "test_mae", "loss"} {
		if v, ok := m[k]; ok {
			return k + "=" + shortNumber(v)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		return k + "=" + shortNumber(m[k])
	}
	return "-"
}

// edition is one version of a Model, with its artifact.
type edition struct {
	Model *v1alpha1.Model
	v1alpha1.ModelVersion
	Lineage  v1alpha1.Lineage
	Artifact *pack.Artifact
	client   *kube.Client
	images   *registry.Client
}

// repository that the versions of m lie in.
func repository(m *v1alpha1.Model) string {
	r, _, _ := strings.Cut(m.Spec.Reference, "@")
	return r
}

// readModel reads the Model that text, NAME[@ALIAS|@DIGEST], names.
func readModel(ctx context.Context, c *kube.Client, text string) (*v1alpha1.Model, model.Name, error) {
	name, _, _ := strings.Cut(text, "@")
	var m v1alpha1.Model
	err := c.Get(ctx, kube.Key(c.Namespace, name), &m)
	if apierrors.IsNotFound(err) {
		return nil, model.Name{}, usage.Errorf("there is no model %s in namespace %s; `polder model ls -A` lists all", name, c.Namespace)
	}
	if err != nil {
		return nil, model.Name{}, fmt.Errorf("reading model %s: %w", name, err)
	}
	n, err := model.ParseName(whole(&m, text))
	if _, at, _ := strings.Cut(text, "@"); err != nil && digestBegins.MatchString(at) {
		return nil, n, usage.Errorf("%s: no version begins so, or several do; six digits are the least, and `polder model versions %s` lists all", text, m.Name)
	}
	return &m, n, usage.Error(err)
}

// digestBegins is what may be the beginning of a digest.
var digestBegins = regexp.MustCompile(`^(sha256:)?[0-9a-f]+$`)

// digestStart is the least that is taken for one.
const digestStart = 6

// whole completes a digest of which the beginning is given, with sha256: or without, if one
// version has it alone. An alias that is called like it comes first.
func whole(m *v1alpha1.Model, text string) string {
	name, at, _ := strings.Cut(text, "@")
	digits := strings.TrimPrefix(at, "sha256:")
	if len(digits) < digestStart || !digestBegins.MatchString(at) ||
		slices.ContainsFunc(m.Status.Aliases, func(a v1alpha1.ModelAliasStatus) bool { return a.Name == at }) {
		return text
	}
	var found []string
	for _, v := range m.Status.Versions {
		if strings.HasPrefix(v.Digest, "sha256:"+digits) {
			found = append(found, v.Digest)
		}
	}
	if len(found) != 1 {
		return text
	}
	return name + "@" + found[0]
}

// find reads the version that text, NAME[@ALIAS|@DIGEST], names, and its artifact. One
// that the Model forgot is looked for in the registry.
func (o *options) find(cmd *cobra.Command, text string) (*edition, error) {
	c, err := o.open(cmd)
	if err != nil {
		return nil, err
	}
	m, n, err := readModel(cmd.Context(), c, text)
	if err != nil {
		return nil, err
	}
	images, err := store(cmd.Context(), c)
	if err != nil {
		return nil, err
	}
	v := &edition{Model: m, client: c, images: images}
	if v.ModelVersion, err = n.Find(m); err != nil {
		if n.Digest == "" {
			return nil, usage.Error(err)
		}
		v.ModelVersion = v1alpha1.ModelVersion{Digest: n.Digest, Reference: repository(m) + "@" + n.Digest}
	}
	if v.Artifact, err = pack.Find(cmd.Context(), images, v.Reference); err != nil {
		if errors.Is(err, registry.ErrNotFound) {
			err = usage.Error(err)
		}
		return nil, err
	}
	return v, v.readLineage()
}

// readLineage reads what went into a version: from the Model where that is the one, else
// from the artifact. Of an import, which a person wrote, only the source counts.
func (v *edition) readLineage() error {
	if v.Digest == v.Model.Spec.Digest {
		v.Lineage = v.Model.Spec.Lineage
		return nil
	}
	l, err := v.Artifact.Lineage()
	if err != nil {
		return err
	}
	if v.Job == "" {
		l = v1alpha1.Lineage{Source: or(l.Source, "not known")}
	}
	v.Lineage = l
	return nil
}

// aliasesOf m that mean digest, or all of them if that is empty.
func aliasesOf(m *v1alpha1.Model, digest string) []string {
	var out []string
	for _, a := range m.Status.Aliases {
		if digest == "" || a.Digest == digest {
			out = append(out, a.Name)
		}
	}
	return out
}

// completeVersions offers the names of models, and after an '@' their aliases.
func (o *options) completeVersions(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	name, _, at := strings.Cut(text, "@")
	if !at || len(args) > 1 {
		return o.completeModels(cmd, args, text)
	}
	c, err := o.open(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	m, _, err := readModel(cmd.Context(), c, name)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for _, a := range aliasesOf(m, "") {
		out = append(out, name+"@"+a)
	}
	for _, v := range m.Status.Versions {
		out = append(out, name+"@"+v.Digest)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
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
