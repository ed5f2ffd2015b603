package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model"
)

// How often the controller's word on a Model is looked for, and how often a write is
// tried again where somebody else wrote.
const (
	modelLookEvery = 200 * time.Millisecond
	writeTries     = 10
)

// errKept says that a wish was left as it is.
var errKept = errors.New("not promoted")

func promoted(m *v1alpha1.Model) *metav1.Condition {
	return apimeta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionPromoted)
}

func (o *options) modelPromote() *cobra.Command {
	var reason string
	var keep bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "promote " + versionName + " ALIAS", Short: "Have an alias mean a version, if its gate lets that through",
		Long: "Have an alias of a model mean a version, and wait for the controller's word. When the gate of the alias does\n" +
			"not let the version through, the alias stays as it was, and the wish is taken back; with --keep it stays, and\n" +
			"the alias follows when the gate opens.",
		Example: "  polder model promote ocr staging\n  polder model promote ocr@staging production --reason 'better on forms'",
		Args:    exactly(versionName, "ALIAS"), ValidArgsFunction: o.completeVersions,
	}
	cmd.Flags().StringVar(&reason, "reason", "", "for the history")
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the wish when the gate is closed")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait for the controller")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		m, n, err := readModel(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		v, err := n.Find(m)
		if err != nil {
			return usage.Error(err)
		}
		return o.promote(cmd, c, m.Name, v1alpha1.ModelAlias{Name: args[1], Digest: v.Digest, Reason: reason}, keep, timeout)
	}
	return o.flags(cmd, "json")
}

func (o *options) modelRollback() *cobra.Command {
	var reason, to string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "rollback NAME@ALIAS", Short: "Have an alias mean again what it meant before",
		Example: "  polder model rollback ocr@production --reason 'misreads sevens'",
		Args:    exactly("NAME@ALIAS"), ValidArgsFunction: o.completeVersions,
	}
	cmd.Flags().StringVar(&reason, "reason", "", "for the history")
	cmd.Flags().StringVar(&to, "to", "", "digest of its history to go back to (default: the latest)")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait for the controller")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		m, n, err := readModel(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if n.Alias == "" {
			return usage.Errorf("an alias is rolled back: write NAME@ALIAS, as in `polder model rollback %s@production`", m.Name)
		}
		digest, err := meantBefore(m, n.Alias, to)
		if err != nil {
			return usage.Error(err)
		}
		return o.promote(cmd, c, m.Name, v1alpha1.ModelAlias{Name: n.Alias, Digest: digest, Reason: or(reason, "rollback")}, false, timeout)
	}
	return o.flags(cmd, "json")
}

// meantBefore is what an alias of m meant before: the latest other version, or that whose
// digest begins with to.
func meantBefore(m *v1alpha1.Model, alias, to string) (string, error) {
	i := slices.IndexFunc(m.Status.Aliases, func(a v1alpha1.ModelAliasStatus) bool { return a.Name == alias })
	if i < 0 {
		return "", fmt.Errorf("model %s has no alias %s; `polder model show %s` tells which it has", m.Name, alias, m.Name)
	}
	a := m.Status.Aliases[i]
	for _, p := range a.History {
		if p.Digest != a.Digest && strings.HasPrefix(p.Digest, "sha256:"+strings.TrimPrefix(to, "sha256:")) {
			return p.Digest, nil
		}
	}
	if to != "" {
		return "", fmt.Errorf("%s@%s has not meant %s before; `polder model show %s -o json` has its history", m.Name, alias, to, m.Name)
	}
	return "", fmt.Errorf("%s@%s has meant no other version before; `polder model promote` gives it one", m.Name, alias)
}

// promote writes the wish, and waits for what the controller makes of it.
func (o *options) promote(cmd *cobra.Command, c *kube.Client, name string, want v1alpha1.ModelAlias, keep bool, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	m, err := changeModel(ctx, c, name, func(m *v1alpha1.Model) { wish(m, want) })
	if err != nil {
		return err
	}
	generation := m.Generation
	err = waitModel(ctx, c, name, func(now *v1alpha1.Model) (bool, error) {
		m = now
		return judged(now, want, generation)
	})
	if errors.Is(err, errKept) && !keep {
		if _, werr := changeModel(cmd.Context(), c, name, func(m *v1alpha1.Model) { unwish(m, want) }); werr != nil {
			return errors.Join(err, werr)
		}
		return err
	}
	if err != nil {
		return err
	}
	if o.json() {
		return printJSON(cmd.OutOrStdout(), m)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s@%s means %s.\n", name, want.Name, want.Digest)
	return nil
}

// wish writes what an alias is to mean.
func wish(m *v1alpha1.Model, want v1alpha1.ModelAlias) {
	for i := range m.Spec.Aliases {
		if m.Spec.Aliases[i].Name == want.Name {
			m.Spec.Aliases[i] = want
			return
		}
	}
	m.Spec.Aliases = append(m.Spec.Aliases, want)
}

// unwish takes a wish back that was not granted: the alias is to mean what it means.
func unwish(m *v1alpha1.Model, want v1alpha1.ModelAlias) {
	m.Spec.Aliases = slices.DeleteFunc(m.Spec.Aliases, func(a v1alpha1.ModelAlias) bool { return a == want })
	for _, a := range m.Status.Aliases {
		if a.Name == want.Name && !slices.ContainsFunc(m.Spec.Aliases, func(b v1alpha1.ModelAlias) bool { return b.Name == want.Name }) {
			m.Spec.Aliases = append(m.Spec.Aliases, v1alpha1.ModelAlias{Name: a.Name, Digest: a.Digest, Reason: a.Reason})
		}
	}
}

// judged says whether the controller has decided on a wish, and its word if that is no.
func judged(m *v1alpha1.Model, want v1alpha1.ModelAlias, generation int64) (bool, error) {
	for _, a := range m.Status.Aliases {
		if a.Name == want.Name && a.Digest == want.Digest {
			return true, nil
		}
	}
	c := promoted(m)
	if c == nil || c.ObservedGeneration < generation {
		return false, nil
	}
	return true, fmt.Errorf("%w: %s", errKept, c.Message)
}

// changeModel reads a Model, changes it and writes it, again where somebody else wrote
// meanwhile.
func changeModel(ctx context.Context, c *kube.Client, name string, change func(*v1alpha1.Model)) (*v1alpha1.Model, error) {
	for try := 0; ; try++ {
		var m v1alpha1.Model
		if err := c.Get(ctx, kube.Key(c.Namespace, name), &m); err != nil {
			return nil, fmt.Errorf("reading model %s: %w", name, err)
		}
		change(&m)
		err := c.Update(ctx, &m)
		if err == nil {
			return &m, nil
		}
		if !apierrors.IsConflict(err) || try == writeTries {
			if apierrors.IsInvalid(err) {
				return nil, usage.Error(usage.Line(err))
			}
			return nil, fmt.Errorf("writing model %s: %w", name, err)
		}
		if err := pause(ctx, modelLookEvery); err != nil {
			return nil, err
		}
	}
}

// waitModel looks at a Model until done says so.
func waitModel(ctx context.Context, c *kube.Client, name string, done func(*v1alpha1.Model) (bool, error)) error {
	for {
		var m v1alpha1.Model
		err := c.Get(ctx, kube.Key(c.Namespace, name), &m)
		if err == nil {
			ok, derr := done(&m)
			if ok || derr != nil {
				return derr
			}
			err = pause(ctx, modelLookEvery)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("the cloud's controller has said nothing about model %s in time; `polder status` tells whether it runs", name)
		}
		if err != nil {
			return fmt.Errorf("reading model %s: %w", name, err)
		}
	}
}

func (o *options) modelGate() *cobra.Command {
	var g v1alpha1.ModelGate
	var off bool
	cmd := &cobra.Command{
		Use: "gate NAME ALIAS", Short: "Say what an alias asks of a version before it may mean it",
		Example: "  polder model gate ocr production --evaluation --against --licence Apache-2.0,MIT\n  polder model gate ocr production --off",
		Args:    exactly("NAME", "ALIAS"), ValidArgsFunction: o.completeModels,
	}
	cmd.Flags().BoolVar(&g.Evaluation, "evaluation", false, "an evaluation that it has passed")
	cmd.Flags().BoolVar(&g.Against, "against", false, "that this compared it with what the alias means now")
	cmd.Flags().StringSliceVar(&g.Licences, "licence", nil, "one of these licences, as SPDX expressions")
	cmd.Flags().BoolVar(&off, "off", false, "nothing")
	cmd.MarkFlagsMutuallyExclusive("off", "evaluation")
	cmd.MarkFlagsMutuallyExclusive("off", "licence")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if g.Against && !g.Evaluation {
			return usage.Errorf("--against is about the evaluation: give --evaluation too")
		}
		for _, l := range g.Licences {
			if err := model.CheckLicence(l); err != nil {
				return usage.Errorf("--licence: %w", err)
			}
		}
		if !off && !g.Evaluation && len(g.Licences) == 0 {
			return usage.Errorf("say what the gate asks for: --evaluation, --licence, or --off for nothing")
		}
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		m, _, err := readModel(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		g.Alias = args[1]
		m, err = changeModel(cmd.Context(), c, m.Name, func(m *v1alpha1.Model) {
			m.Spec.Gates = slices.DeleteFunc(m.Spec.Gates, func(h v1alpha1.ModelGate) bool { return h.Alias == g.Alias })
			if !off {
				m.Spec.Gates = append(m.Spec.Gates, g)
			}
		})
		if err != nil {
			return err
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), m.Spec.Gates)
		}
		if off {
			fmt.Fprintf(cmd.OutOrStdout(), "%s@%s has no gate: it may mean any version.\n", m.Name, g.Alias)
			return nil
		}
		fmt.Fprintf(cmd.OutOrStdout(), "The gate of %s@%s is set; what the alias means now, it goes on to mean.\n", m.Name, g.Alias)
		return nil
	}
	return o.flags(cmd, "json")
}
