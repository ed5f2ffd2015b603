package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
)

// settle waits until a service is as its spec asks, and shows how far it is.
func (o *options) settle(cmd *cobra.Command, c *kube.Client, s *v1alpha1.InferenceService, w *waits) error {
	out := cmd.OutOrStdout()
	if !w.no {
		last, err := awaitService(cmd.Context(), c, s, w.limit, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		s = last
	}
	switch {
	case o.json():
		return printJSON(out, s)
	case w.no:
		fmt.Fprintf(out, "Service %s is written; `polder service show %s` tells how it goes on.\n", s.Name, s.Name)
	default:
		where := ""
		if s.Status.URL != "" {
			where = " at " + s.Status.URL
		}
		fmt.Fprintf(out, "Service %s is ready%s.\n", s.Name, where)
	}
	return nil
}

// refusedFor is how long a service must be refused before that is believed: what it names
// may have been made a moment ago.
const refusedFor = 3 * time.Second

// awaitService waits until a service has settled. What is in the way is written to w.
func awaitService(ctx context.Context, c *kube.Client, s *v1alpha1.InferenceService, limit time.Duration, w io.Writer) (*v1alpha1.InferenceService, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	p := &servicePrinter{w: w, began: time.Now()}
	if term.Is(w) {
		p.line = term.NewLine(w)
	}
	defer p.end()
	var refused time.Time
	last := s
	for {
		var now v1alpha1.InferenceService
		err := c.Get(ctx, kube.Key(s.Namespace, s.Name), &now)
		switch {
		case apierrors.IsNotFound(err), err == nil && now.UID != s.UID:
			return nil, fmt.Errorf("service %s was removed", s.Name)
		case err == nil:
			last = &now
			done, why := settled(&now)
			if done {
				return last, nil
			}
			p.show(&now)
			if why == "" {
				refused = time.Time{}
			} else if refused.IsZero() {
				refused = time.Now()
			} else if time.Since(refused) > refusedFor {
				return nil, usage.Errorf("service %s cannot be as it is asked: %s", s.Name, why)
			}
		case ctx.Err() == nil:
			return nil, fmt.Errorf("reading service %s: %w", s.Name, err)
		}
		if err := pause(ctx, lookEvery); err != nil {
			_, message := serviceState(last)
			return nil, fmt.Errorf("service %s is not ready yet (%w): %s; it goes on, and `polder service show %s` tells how", s.Name, err, or(message, "it is starting"), s.Name)
		}
	}
}

// servicePrinter shows how far a service is: on a terminal in one line, elsewhere what is
// in the way, when that changes.
type servicePrinter struct {
	w     io.Writer
	line  *term.Line // nil: no terminal
	began time.Time
	said  string
}

func (p *servicePrinter) show(s *v1alpha1.InferenceService) {
	_, message := serviceState(s)
	waits := slices.ContainsFunc(s.Status.Revisions, func(r v1alpha1.Revision) bool { return r.Message != "" })
	if waits && message != "" && message != p.said {
		p.said = message
		p.end()
		fmt.Fprintln(p.w, message)
	}
	if p.line != nil {
		p.line.Set(fmt.Sprintf("%s  %s  %ds", s.Name, progressOf(s), int(time.Since(p.began).Seconds())))
	}
}

func (p *servicePrinter) end() {
	if p.line != nil {
		p.line.Clear()
	}
}

func (o *options) serviceLogs() *cobra.Command {
	var follow bool
	var tail int
	var revision string
	cmd := &cobra.Command{Use: "logs SERVICE", Short: "Show what the replicas of a service say", Args: exactly("SERVICE"), ValidArgsFunction: o.completeServices}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		s, err := findService(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if revision != "" && !slices.ContainsFunc(s.Status.Revisions, func(r v1alpha1.Revision) bool { return r.Name == revision }) {
			return usage.Errorf("--revision %s: service %s has no such revision; `polder service show %s` lists them", revision, s.Name, s.Name)
		}
		return serviceLogs(cmd.Context(), c, s, revision, follow, tail, cmd.OutOrStdout())
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as the logs grow, with replicas that come later too")
	cmd.Flags().IntVar(&tail, "tail", -1, "only the last lines, this many, of each")
	cmd.Flags().StringVar(&revision, "revision", "", "only of this revision")
	_ = cmd.RegisterFlagCompletionFunc("revision", cobra.NoFileCompletions)
	return o.flags(cmd)
}

// serviceLogs writes the logs of a service's replicas, each line with the name of its
// pod. A replica whose program has died and is not back shows what it said before.
func serviceLogs(ctx context.Context, c *kube.Client, s *v1alpha1.InferenceService, revision string, follow bool, tail int, w io.Writer) error {
	f := &podFollower{c: c, out: &lineWriter{w: w}, follow: follow, tail: tail, shown: map[string]bool{}}
	defer f.wait()
	labels := map[string]string{v1alpha1.LabelService: s.Name}
	if revision != "" {
		labels[v1alpha1.LabelRevision] = revision
	}
	for {
		var list corev1.PodList
		if err := c.List(ctx, &list, kube.InNamespace(s.Namespace), kube.Labelled(labels)); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("listing replicas of %s: %w", s.Name, err)
		}
		for i := range list.Items {
			f.begin(ctx, &list.Items[i])
		}
		if !follow {
			return f.over(s)
		}
		if pause(ctx, lookEvery) != nil {
			return nil
		}
	}
}
