package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model/registry"
)

// options are the flags that all verbs have.
type options struct {
	dataDir    *string
	kubeconfig string
	namespace  string
	output     string
}

// flags gives cmd the flags of all verbs.
func (o *options) flags(cmd *cobra.Command, formats ...string) *cobra.Command {
	cmd.Flags().StringVar(&o.kubeconfig, "kubeconfig", "", "file to reach the cloud with (default: that of the cloud in --data-dir, KUBECONFIG, ~/.kube/config)")
	cmd.Flags().StringVarP(&o.namespace, "namespace", "n", "", "namespace (default: the kubeconfig's)")
	_ = cmd.RegisterFlagCompletionFunc("namespace", cobra.NoFileCompletions)
	return o.formats(cmd, formats...)
}

// formats gives cmd the flag that chooses what is printed, if there is a choice.
func (o *options) formats(cmd *cobra.Command, formats ...string) *cobra.Command {
	if len(formats) > 0 {
		about := "json for programs"
		if slices.Contains(formats, "wide") {
			about += ", wide for more columns"
		}
		cmd.Flags().StringVarP(&o.output, "output", "o", "", about)
		_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
		run := cmd.RunE
		cmd.RunE = func(c *cobra.Command, args []string) error {
			if o.output != "" && !slices.Contains(formats, o.output) {
				return usage.Errorf("-o %s is not known; write %s, or leave it out", o.output, strings.Join(formats, " or "))
			}
			return run(c, args)
		}
	}
	return cmd
}

func (o *options) json() bool { return o.output == "json" }

// open connects to the cloud.
func (o *options) open(cmd *cobra.Command) (*kube.Client, error) {
	c, err := kube.Open(o.findKubeconfig(cmd))
	if err != nil {
		return nil, err
	}
	if o.namespace != "" {
		c.Namespace = o.namespace
	}
	return c, c.Greet(cmd.Context())
}

// findKubeconfig prefers what was said to what was found: --kubeconfig, then
// --data-dir, then KUBECONFIG, then a cloud in the default directory.
func (o *options) findKubeconfig(cmd *cobra.Command) string {
	local := filepath.Join(*o.dataDir, "admin.kubeconfig")
	said := cmd.Flags().Changed("data-dir") || os.Getenv("POLDER_DATA_DIR") != ""
	switch {
	case o.kubeconfig != "":
		return o.kubeconfig
	case said:
		return local
	case os.Getenv("KUBECONFIG") != "":
		return ""
	}
	if _, err := os.Stat(local); err == nil {
		return local
	}
	return ""
}

// store opens the cloud's registry.
func store(ctx context.Context, c *kube.Client) (*registry.Client, error) {
	address, err := c.Registry(ctx)
	if err != nil {
		return nil, err
	}
	trust, err := c.Trust()
	if err != nil {
		return nil, err
	}
	return registry.New(address, trust, c.Shows)
}

// printJSON writes v, indented.
func printJSON(w io.Writer, v any) error {
	if o, ok := v.(kube.Object); ok && reflect.TypeOf(v).Kind() == reflect.Pointer { // a struct has more beside one
		v = kube.Whole(o)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// meter returns a function that draws the progress of moving bytes on w, if it is
// a terminal, and one that ends it.
func meter(w io.Writer, what string) (progress func(done, total int64), end func()) {
	if !term.Is(w) {
		return nil, func() {}
	}
	line := term.NewLine(w)
	return func(done, total int64) {
		share := 1.0
		if total > 0 {
			share = float64(done) / float64(total)
		}
		line.Set(fmt.Sprintf("%s  %s  %s of %s", what, term.Bar(share, 30), term.Bytes(done), term.Bytes(total)))
	}, line.Clear
}
