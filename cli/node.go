package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/device"
	"polder.dev/polder/device/emulate"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
)

func (o *options) node() *cobra.Command {
	cmd := &cobra.Command{Use: "node", Short: "List nodes, and add and remove emulated ones"}
	cmd.AddCommand(o.nodeList(), o.nodeAdd(), o.nodeRemove())
	return cmd
}

func (o *options) nodeList() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: "List nodes", Args: cobra.NoArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		var list corev1.NodeList
		if err := c.List(cmd.Context(), &list); err != nil {
			return fmt.Errorf("listing nodes: %w", err)
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), list.Items)
		}
		rows := [][]string{{"NAME", "READY", "EMULATED", "CPU", "MEMORY", "VERSION", "AGE"}}
		for i := range list.Items {
			n := &list.Items[i]
			ready := slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
				return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
			})
			rows = append(rows, []string{n.Name, yes(ready), yes(emulate.Emulated(n)), n.Status.Capacity.Cpu().String(), size(n.Status.Capacity.Memory().Value()),
				n.Status.NodeInfo.KubeletVersion, term.Age(n.CreationTimestamp.Time, time.Now())})
		}
		return term.Table(cmd.OutOrStdout(), rows)
	}
	return o.flags(cmd, "json")
}

// countMax is how many nodes one command emulates at most.
const countMax = 5000

func (o *options) nodeAdd() *cobra.Command {
	var dump, name string
	var count int
	cmd := &cobra.Command{
		Use:   "add --emulate DUMP",
		Short: "Add nodes that do not exist, with the devices of a dump",
		Long: `Add nodes that do not exist, to plan and test for hardware that is not there. DUMP is
a directory with a copy of a machine's sys and proc, a file of what a vendor's program
printed, or one by ` + "`polder devices -o json`" + `. What is placed there does not run, and
says so.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&dump, "emulate", "", "directory or file to read devices from")
	cmd.Flags().StringVar(&name, "name", "", "name of the node, or prefix of the names of several (default: emulated)")
	cmd.Flags().IntVar(&count, "count", 1, "how many nodes")
	_ = cmd.MarkFlagRequired("emulate")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if count < 1 || count > countMax {
			return usage.Errorf("--count %d is not between 1 and %d", count, countMax)
		}
		v, err := readDump(cmd, dump)
		if err != nil {
			return err
		}
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		return addNodes(cmd, c, v, name, count)
	}
	return o.flags(cmd)
}

// readDump reads a directory or a file.
func readDump(cmd *cobra.Command, dump string) (device.Inventory, error) {
	info, err := os.Stat(dump)
	if err != nil {
		return device.Inventory{}, usage.Errorf("--emulate: %w", err)
	}
	m := machine{from: dump}
	if info.IsDir() {
		m = machine{root: dump}
	}
	v, err := m.inventory(cmd)
	if err != nil {
		return v, usage.Errorf("--emulate %s: %w", dump, errors.New(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "--from "+dump+": "), "--root "+dump+": ")))
	}
	if len(v.Devices) == 0 {
		return v, usage.Errorf("--emulate %s: it has no devices; a dump is a directory with sys and proc, or what a vendor's program printed", dump)
	}
	return v, nil
}

func addNodes(cmd *cobra.Command, c *kube.Client, v device.Inventory, name string, count int) error {
	ctx := cmd.Context()
	inventory, err := emulate.Inventory(v)
	if err != nil {
		return usage.Error(err)
	}
	if name == "" {
		name = "emulated"
	}
	names, err := freeNames(ctx, c, name, count)
	if err != nil {
		return err
	}
	var nodes []*corev1.Node
	for _, n := range names {
		node, err := emulate.Node(n, inventory)
		if err != nil {
			return usage.Errorf("--name: %w", err)
		}
		nodes = append(nodes, node)
	}
	if err := c.Create(ctx, inventory); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("writing the inventory: %w", err)
	}
	for _, n := range nodes {
		if err := c.Create(ctx, n); err != nil {
			return fmt.Errorf("adding node %s: %w", n.Name, err)
		}
	}
	what := names[0]
	if count > 1 {
		what = fmt.Sprintf("%s to %s", names[0], names[count-1])
	}
	fmt.Fprintf(cmd.OutOrStdout(), "added %d emulated node(s), %s, with %d devices each; nothing runs there\n", count, what, len(v.Devices))
	return nil
}

// freeNames are count names that no node has: name itself for one node if it is free,
// else name-0, name-1 and so on.
func freeNames(ctx context.Context, c *kube.Client, name string, count int) ([]string, error) {
	var list corev1.NodeList
	if err := c.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing nodes: %w", err)
	}
	taken := map[string]bool{}
	for i := range list.Items {
		taken[list.Items[i].Name] = true
	}
	if count == 1 && !taken[name] {
		return []string{name}, nil
	}
	var names []string
	for i := 0; len(names) < count; i++ {
		if n := fmt.Sprintf("%s-%d", name, i); !taken[n] {
			names = append(names, n)
		}
	}
	return names, nil
}

func (o *options) nodeRemove() *cobra.Command {
	var all bool
	cmd := &cobra.Command{Use: "rm NAME...", Short: "Remove emulated nodes", Args: cobra.ArbitraryArgs}
	cmd.Flags().BoolVar(&all, "all", false, "all emulated nodes")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if all == (len(args) > 0) {
			return usage.Errorf("give the names of nodes, or --all")
		}
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		var list corev1.NodeList
		if err := c.List(cmd.Context(), &list); err != nil {
			return fmt.Errorf("listing nodes: %w", err)
		}
		var remove []string
		for i := range list.Items {
			n := &list.Items[i]
			named := slices.Contains(args, n.Name)
			if named && !emulate.Emulated(n) {
				return usage.Errorf("node %s is not emulated; it is removed with kubectl, once it is gone", n.Name)
			}
			if emulate.Emulated(n) && (all || named) {
				remove = append(remove, n.Name)
			}
		}
		for _, a := range args {
			if !slices.Contains(remove, a) {
				return usage.Errorf("there is no node %s", a)
			}
		}
		for _, n := range remove {
			if err := c.Delete(cmd.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n}}); err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("removing node %s: %w", n, err)
			}
		}
		fmt.Fprintf(cmd.OutOrStdout(), "removed %d emulated node(s)\n", len(remove))
		return nil
	}
	return o.flags(cmd)
}

// emulating gives `polder up` the flag --emulate: the dump is read before anything
// starts, and its node is added when the cloud is up.
func (o *options) emulating(commands []*cobra.Command) {
	i := slices.IndexFunc(commands, func(c *cobra.Command) bool { return c.Name() == "up" })
	if i < 0 {
		return
	}
	up, dump := commands[i], ""
	up.Flags().StringVar(&dump, "emulate", "", "add a node that does not exist, with the devices of this dump, as polder node add does")
	run := up.RunE
	up.RunE = func(cmd *cobra.Command, args []string) error {
		if dump == "" {
			return run(cmd, args)
		}
		if stay, err := cmd.Flags().GetBool("foreground"); err == nil && stay {
			return usage.Errorf("--emulate does not go with --foreground; add the node with `polder node add` once the cloud is up")
		}
		v, err := readDump(cmd, dump)
		if err != nil {
			return err
		}
		if err := run(cmd, args); err != nil {
			return err
		}
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		return addNodes(cmd, c, v, "", 1)
	}
}
