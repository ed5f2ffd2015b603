package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model"
	"polder.dev/polder/model/format"
	"polder.dev/polder/model/pack"
)

const (
	recordLimit = time.Minute     // until the version before an import is recorded
	removeLimit = 2 * time.Minute // until a model that is removed is gone
)

// importing is what is said on the command line of a model that is imported.
type importing struct {
	licence, class, source string
}

func (o *options) modelPush() *cobra.Command {
	var in importing
	cmd := &cobra.Command{
		Use: "push PATH NAME", Aliases: []string{"import"}, Short: "Import a model: a directory, as Hugging Face lays it out or otherwise, *.onnx or *.safetensors",
		Long: "Import a model as a new version of the Model NAME. Files in safetensors and ONNX are checked first, and one that\n" +
			"is broken is not imported. The licence is that of the model card (README.md), unless --licence says another.",
		Example: "  polder model push ./digits ocr --licence Apache-2.0\n  polder model push model.onnx ocr",
		Args:    exactly("PATH", "NAME"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return o.completeModels(cmd, nil, text)
		},
	}
	cmd.Flags().StringVar(&in.licence, "licence", "", "SPDX expression (default: that of the model card)")
	cmd.Flags().StringVar(&in.class, "classification", "", "of the data it was made of, in your organisation's words")
	cmd.Flags().StringVar(&in.source, "source", "", "where it comes from (default: its format, and you)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if n, err := model.ParseName(args[1]); err != nil || n.Model != args[1] {
			return usage.Errorf("%q names no model: use lower-case letters, digits and '-', without '@'", args[1])
		}
		if in.licence != "" {
			if err := model.CheckLicence(in.licence); err != nil {
				return usage.Errorf("--licence: %w", err)
			}
		}
		s, err := format.Look(args[0])
		if err != nil {
			return usage.Error(err)
		}
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		return o.push(cmd, c, args[1], s, in)
	}
	return o.flags(cmd, "json")
}

// push sends the artifact and then writes the Model.
func (o *options) push(cmd *cobra.Command, c *kube.Client, name string, s *format.Summary, in importing) error {
	ctx := cmd.Context()
	m := &v1alpha1.Model{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: name}}
	var have v1alpha1.Model // none where this is the first version
	if err := c.Get(ctx, kube.Key(c.Namespace, name), &have); err == nil {
		if err := staying(&have); err != nil {
			return err
		}
	}
	m.Spec.Licence, m.Spec.Framework, m.Spec.Classification = or(in.licence, s.Licence), s.Framework, in.class
	if in.source == "" {
		user, err := c.User(ctx)
		if err != nil {
			return err
		}
		in.source = s.Kind + ", by " + user
	}
	m.Spec.Lineage.Source = in.source
	images, err := store(ctx, c)
	if err != nil {
		return err
	}
	lineage, err := json.Marshal(m.Spec.Lineage)
	if err != nil {
		return err
	}
	progress, end := meter(cmd.ErrOrStderr(), name)
	repository := "models/" + c.Namespace + "/" + name
	d, size, err := pack.Push(ctx, images, repository+":latest", pack.Model{
		Name: name, Format: s.Framework, Licence: m.Spec.Licence, Progress: progress,
		Annotations: map[string]string{pack.AnnotationLineage: string(lineage)},
	}, sources(s))
	end()
	if err != nil {
		return err
	}
	m.Spec.Digest, m.Spec.SizeBytes, m.Spec.Reference = d.String(), size, repository+"@"+d.String()
	if _, err := pack.AttachTo(ctx, images, repository, d, pack.TypeLineage, nil, lineage); err != nil {
		return err
	}
	fresh, err := writeImport(ctx, c, m)
	if err != nil {
		return err
	}
	return o.pushed(cmd, m, s, fresh)
}

// sources are the files of s.
func sources(s *format.Summary) []pack.File {
	var out []pack.File
	for _, f := range s.Files {
		out = append(out, pack.File{Path: f.Path, Size: f.SizeBytes, Open: func() (io.ReadCloser, error) { return os.Open(f.Source) }})
	}
	return out
}

// staying returns an error if m is to go, with all that is put into its repository.
func staying(m *v1alpha1.Model) error {
	if m.DeletionTimestamp == nil {
		return nil
	}
	return usage.Errorf("model %s is being removed: import it when it is gone, or under another name", m.Name)
}

// writeImport makes the Model, or has the one of its name hold this version, once the
// one before is recorded. fresh is false where it is a version already.
func writeImport(ctx context.Context, c *kube.Client, m *v1alpha1.Model) (fresh bool, err error) {
	err = c.Create(ctx, m.DeepCopy())
	if !apierrors.IsAlreadyExists(err) {
		if apierrors.IsInvalid(err) {
			return false, usage.Error(usage.Line(err))
		}
		if err != nil {
			return false, fmt.Errorf("creating model %s: %w", m.Name, err)
		}
		return true, nil
	}
	limit, cancel := context.WithTimeout(ctx, recordLimit)
	defer cancel()
	known := false
	recorded := func(now *v1alpha1.Model, d string) bool {
		return slices.ContainsFunc(now.Status.Versions, func(v v1alpha1.ModelVersion) bool { return v.Digest == d })
	}
	err = waitModel(limit, c, m.Name, func(now *v1alpha1.Model) (bool, error) {
		known = now.Spec.Digest == m.Spec.Digest || recorded(now, m.Spec.Digest)
		if err := staying(now); err != nil {
			return false, err
		}
		return known || recorded(now, now.Spec.Digest), nil
	})
	if err != nil || known {
		return false, err
	}
	_, err = changeModel(limit, c, m.Name, func(now *v1alpha1.Model) {
		aliases, gates := now.Spec.Aliases, now.Spec.Gates
		if m.Spec.Classification == "" {
			m.Spec.Classification = now.Spec.Classification
		}
		now.Spec = m.Spec
		now.Spec.Aliases, now.Spec.Gates = aliases, gates
	})
	return err == nil, err
}

// pushed tells what was made.
func (o *options) pushed(cmd *cobra.Command, m *v1alpha1.Model, s *format.Summary, fresh bool) error {
	w := cmd.OutOrStdout()
	if o.json() {
		return printJSON(w, map[string]any{"name": m.Name, "digest": m.Spec.Digest, "reference": m.Spec.Reference, "new": fresh, "read": s})
	}
	if !fresh {
		fmt.Fprintf(w, "Model %s has the version %s already.\n", m.Name, m.Spec.Digest)
		return nil
	}
	fmt.Fprintf(w, "Model %s has the new version %s: %s, %s in %s, licence %s.\n",
		m.Name, m.Spec.Digest, or(m.Spec.Framework, s.Kind), term.Bytes(m.Spec.SizeBytes), plural(int64(len(s.Files)), "file"), or(m.Spec.Licence, "not known"))
	for _, v := range s.Inputs {
		fmt.Fprintf(w, "  takes %s\n", v)
	}
	for _, v := range s.Outputs {
		fmt.Fprintf(w, "  gives %s\n", v)
	}
	for _, f := range s.Opaque {
		fmt.Fprintf(w, "  %s was not looked into: formats like it may run code when they are loaded.\n", f)
	}
	return nil
}

func (o *options) modelRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm " + versionName, Short: "Remove a model with all its versions, one version, or an alias",
		Long: "Remove a model, with the artifacts of all its versions; with @DIGEST, that version; with @ALIAS, the alias and\n" +
			"not what it means. What a service serves or an alias means is not removed.",
		Args: exactly(versionName), ValidArgsFunction: o.completeVersions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		m, n, err := readModel(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		switch {
		case n.Alias != "":
			return removeAlias(cmd, c, m, n.Alias)
		case n.Digest != "":
			return removeVersion(cmd, c, m, n.Digest)
		}
		return removeModel(cmd, c, m)
	}
	return o.flags(cmd)
}

// users are the services of the namespace that name what used says.
func users(ctx context.Context, c *kube.Client, used func(model.Name) bool) ([]string, error) {
	var list v1alpha1.InferenceServiceList
	if err := c.List(ctx, &list, kube.InNamespace(c.Namespace)); err != nil {
		if apierrors.IsForbidden(err) {
			return nil, nil // the API server refuses what they must not do
		}
		return nil, fmt.Errorf("listing services: %w", err)
	}
	var out []string
	for _, s := range list.Items {
		texts := []string{s.Spec.Model}
		if s.Spec.Canary != nil {
			texts = append(texts, s.Spec.Canary.Model)
		}
		if slices.ContainsFunc(texts, func(t string) bool { n, err := model.ParseName(t); return err == nil && used(n) }) {
			out = append(out, s.Name)
		}
	}
	return out, nil
}

// unused returns an error that names the services which use what is to be removed.
func unused(ctx context.Context, c *kube.Client, what string, used func(model.Name) bool) error {
	by, err := users(ctx, c, used)
	if err != nil || len(by) == 0 {
		return err
	}
	return usage.Errorf("%s is used by service %s: have that serve another model, or remove it, first", what, by[0])
}

// removeModel removes a model and waits until the cloud's controller has taken its
// artifacts out of the registry.
func removeModel(cmd *cobra.Command, c *kube.Client, m *v1alpha1.Model) error {
	ctx := cmd.Context()
	if err := unused(ctx, c, "model "+m.Name, func(n model.Name) bool { return n.Model == m.Name }); err != nil {
		return err
	}
	if err := c.Delete(ctx, m); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing model %s: %w", m.Name, err)
	}
	limit, cancel := context.WithTimeout(ctx, removeLimit)
	defer cancel()
	said := "the cloud's controller has said nothing; `polder status` tells whether it runs"
	for {
		var now v1alpha1.Model
		err := c.Get(limit, kube.Key(m.Namespace, m.Name), &now)
		if apierrors.IsNotFound(err) || err == nil && now.UID != m.UID {
			break
		}
		if err == nil {
			if why := apimeta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionRemoved); why != nil && why.Message != said {
				said = why.Message
				fmt.Fprintf(cmd.ErrOrStderr(), "Model %s is still there: %s\n", m.Name, said)
			}
			err = pause(limit, modelLookEvery)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("model %s is to go, and still there after %v: %s", m.Name, removeLimit, said)
		}
		if err != nil {
			return fmt.Errorf("waiting until model %s is gone: %w", m.Name, err)
		}
	}
	all := map[string]bool{m.Spec.Digest: true}
	for _, v := range m.Status.Versions {
		all[v.Digest] = true
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Model %s is removed, with %s.\n", m.Name, plural(int64(len(all)), "version"))
	return nil
}

func removeAlias(cmd *cobra.Command, c *kube.Client, m *v1alpha1.Model, alias string) error {
	if !slices.ContainsFunc(m.Spec.Aliases, func(a v1alpha1.ModelAlias) bool { return a.Name == alias }) {
		return usage.Errorf("model %s has no alias %s; `polder model show %s` tells which it has", m.Name, alias, m.Name)
	}
	if err := unused(cmd.Context(), c, m.Name+"@"+alias, func(n model.Name) bool { return n.Model == m.Name && n.Alias == alias }); err != nil {
		return err
	}
	_, err := changeModel(cmd.Context(), c, m.Name, func(m *v1alpha1.Model) {
		m.Spec.Aliases = slices.DeleteFunc(m.Spec.Aliases, func(a v1alpha1.ModelAlias) bool { return a.Name == alias })
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Alias %s of model %s is removed; the version that it meant stays.\n", alias, m.Name)
	return nil
}

// removeVersion has the controller forget a version, and then removes the artifact.
func removeVersion(cmd *cobra.Command, c *kube.Client, m *v1alpha1.Model, d string) error {
	ctx := cmd.Context()
	if d == m.Spec.Digest {
		return usage.Errorf("%s is the version that was published last: publish another first, or remove the model with `polder model rm %s`", d, m.Name)
	}
	means := func(a v1alpha1.ModelAliasStatus) bool { return a.Digest == d }
	if i := slices.IndexFunc(m.Status.Aliases, means); i >= 0 {
		return usage.Errorf("%s is what %s@%s means: promote another version first", d, m.Name, m.Status.Aliases[i].Name)
	}
	if err := unused(ctx, c, m.Name+"@"+d, func(n model.Name) bool { return n.Model == m.Name && n.Digest == d }); err != nil {
		return err
	}
	images, err := store(ctx, c)
	if err != nil {
		return err
	}
	if err := forget(ctx, c, m, d); err != nil {
		return err
	}
	if err := pack.Remove(ctx, images, repository(m), digest.Digest(d)); err != nil {
		if gone(err) {
			return usage.Error(err)
		}
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Version %s of model %s is removed.\n", d, m.Name)
	return nil
}

// forget waits until a version is not among those of its Model.
func forget(ctx context.Context, c *kube.Client, m *v1alpha1.Model, d string) error {
	has := func(m *v1alpha1.Model) bool {
		return slices.ContainsFunc(m.Status.Versions, func(v v1alpha1.ModelVersion) bool { return v.Digest == d })
	}
	if !has(m) {
		return nil
	}
	_, err := changeModel(ctx, c, m.Name, func(m *v1alpha1.Model) {
		if m.Annotations == nil {
			m.Annotations = map[string]string{}
		}
		m.Annotations[v1alpha1.AnnotationForget] = d
	})
	if err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, recordLimit)
	defer cancel()
	return waitModel(limit, c, m.Name, func(now *v1alpha1.Model) (bool, error) {
		if _, asked := now.Annotations[v1alpha1.AnnotationForget]; asked {
			return false, nil
		}
		if has(now) {
			return true, fmt.Errorf("version %s of model %s is meant by an alias, or is the one published last; it stays", d, m.Name)
		}
		return true, nil
	})
}
