package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/usage"
)

// read reads the object called name, of the client's namespace, into o. what people call
// its kind, and ls the verb that lists all, are for who names one that is not there.
func read(ctx context.Context, c *kube.Client, name string, o kube.Object, what, ls string) error {
	err := c.Get(ctx, kube.Key(c.Namespace, name), o)
	if apierrors.IsNotFound(err) {
		return usage.Errorf("there is no %s %s in namespace %s; `polder %s` lists all", what, name, c.Namespace, ls)
	}
	if err != nil {
		return fmt.Errorf("reading %s %s: %w", what, name, err)
	}
	return nil
}

// completeNames completes the first argument by the names of objects of a kind; of and
// items are as in list.
func completeNames[T any, P interface {
	*T
	kube.Object
}](o *options, cmd *cobra.Command, args []string, of kube.ObjectList, items *[]T) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return o.complete(cmd, func(ctx context.Context, c *kube.Client) ([]string, error) {
		err := c.List(ctx, of, kube.InNamespace(c.Namespace))
		var names []string
		for i := range *items {
			names = append(names, P(&(*items)[i]).GetName())
		}
		return names, err
	})
}
