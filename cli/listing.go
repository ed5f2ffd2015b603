package cli

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
)

// listing says how the objects of a kind are listed.
type listing[T any] struct {
	use  string // of the verb
	what string // plural, as people call them
	none string // said when there are none
	// newest first; else by name, as the API lists them.
	newest bool
	head   []string
	row    func(o *T, now time.Time) []string
}

// list is the verb that lists objects of a kind: those of a namespace, or of all. of is
// where they are read to, and items its field.
func list[T any, P interface {
	*T
	kube.Object
}](o *options, of kube.ObjectList, items *[]T, l listing[T]) *cobra.Command {
	var all bool
	cmd := &cobra.Command{Use: l.use, Short: "List " + l.what, Args: cobra.NoArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		namespace := c.Namespace
		if all {
			namespace = ""
		}
		if err := c.List(cmd.Context(), of, kube.InNamespace(namespace)); err != nil {
			return fmt.Errorf("listing %s: %w", l.what, err)
		}
		if l.newest {
			slices.SortFunc(*items, func(a, b T) int {
				return P(&b).GetCreationTimestamp().Compare(P(&a).GetCreationTimestamp().Time)
			})
		}
		if o.json() {
			out := make([]kube.Object, len(*items))
			for i := range *items {
				out[i] = kube.Whole(P(&(*items)[i]))
			}
			return printJSON(cmd.OutOrStdout(), out)
		}
		if len(*items) == 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "There are no %s; %s.\n", l.what, l.none)
			return nil
		}
		rows := [][]string{l.head}
		for i := range *items {
			rows = append(rows, l.row(&(*items)[i], time.Now()))
		}
		return term.Table(cmd.OutOrStdout(), rows)
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "those of all namespaces")
	return o.flags(cmd, "json")
}
