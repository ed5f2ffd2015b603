package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/storage/transfer"
)

func (o *options) bucket() *cobra.Command {
	cmd := &cobra.Command{Use: "bucket", Short: "Make, show, set up and remove buckets of the object store"}
	cmd.AddCommand(o.bucketCreate(), o.bucketList(), o.bucketShow(), o.bucketRemove(), o.bucketVersioning(), o.bucketLogging())
	cmd.AddCommand(o.bucketDocument("tier", "when the bucket's data moves to slower storage", (*transfer.Client).Tiers, (*transfer.Client).SetTiers))
	cmd.AddCommand(o.bucketDocument("policy", "the bucket's policy: who else may do what", (*transfer.Client).Policy, (*transfer.Client).SetPolicy))
	cmd.AddCommand(o.bucketDocument("lifecycle", "the bucket's lifecycle rules: what is removed when", (*transfer.Client).Lifecycle, (*transfer.Client).SetLifecycle))
	return cmd
}

func (o *options) bucketCreate() *cobra.Command {
	s := o.objects()
	var b transfer.BucketOptions
	cmd := &cobra.Command{Use: "create NAME", Short: "Make a bucket", Args: exactly("NAME")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if b.Durability != "" && b.Durability != "synced" && b.Durability != "written" {
			return usage.Errorf("--durability %s is not known; write synced or written", b.Durability)
		}
		if b.Copies < 0 || cmd.Flags().Changed("copies") && b.Copies == 0 {
			return usage.Errorf("--copies is %d; there is at least 1", b.Copies)
		}
		c, err := s.client(cmd)
		if err != nil {
			return err
		}
		if err := c.CreateBucket(cmd.Context(), args[0], b); err != nil {
			return misnamed(err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Bucket %s is made; `polder cp FILE s3://%s/` puts something in.\n", args[0], args[0])
		return nil
	}
	f := cmd.Flags()
	f.BoolVar(&b.Versioning, "versioning", false, "keep what is overwritten or removed as older versions")
	f.BoolVar(&b.ObjectLock, "object-lock", false, "let versions be locked against removal; brings versioning")
	f.StringVar(&b.Durability, "durability", "", "synced: what is acknowledged survives a power cut; written: it may lose a second's writes, and is faster")
	f.IntVar(&b.Copies, "copies", 0, "how many disks hold each object (default: what the store does)")
	f.BoolVar(&b.PlainETag, "plain-etag", false, "allow ETags that are no MD5, which makes writing faster")
	_ = cmd.RegisterFlagCompletionFunc("durability", cobra.FixedCompletions([]string{"synced", "written"}, cobra.ShellCompDirectiveNoFileComp))
	return s.flags(cmd)
}

func (o *options) bucketList() *cobra.Command {
	s := o.objects()
	cmd := &cobra.Command{Use: "ls", Short: "List buckets", Args: cobra.NoArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return s.listBuckets(cmd) }
	return s.flags(cmd, "json")
}

func (o *options) bucketShow() *cobra.Command {
	s := o.objects()
	var count bool
	cmd := &cobra.Command{Use: "show NAME", Short: "Show a bucket: what it holds, and how it is set up", Args: exactly("NAME"), ValidArgsFunction: s.completeBuckets}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := s.client(cmd)
		if err != nil {
			return err
		}
		b, err := c.ShowBucket(cmd.Context(), args[0], count)
		if err != nil {
			return misnamed(err)
		}
		if s.json() {
			return printJSON(cmd.OutOrStdout(), b)
		}
		return term.Table(cmd.OutOrStdout(), bucketRows(b))
	}
	cmd.Flags().BoolVar(&count, "count", false, "list all objects to count them, where the store does not tell how many there are")
	return s.flags(cmd, "json")
}

func bucketRows(b transfer.Bucket) [][]string {
	rows := [][]string{{"Bucket", transfer.Printable(b.Name)}}
	if !b.Created.IsZero() {
		rows = append(rows, []string{"Made", b.Created.Format(time.RFC3339)})
	}
	holds := "not known; --count lists them"
	if b.Objects != nil {
		holds = plural(*b.Objects, "object")
		if b.Bytes != nil {
			holds += ", " + term.Bytes(*b.Bytes)
		}
	}
	yes := map[bool]string{true: "yes", false: "no"}
	rows = append(rows, []string{"Holds", holds}, []string{"Versioning", or(b.Versioning, "not known")}, []string{"Object lock", yes[b.ObjectLock]},
		[]string{"Policy", yes[b.Policy]}, []string{"Lifecycle", plural(int64(b.Lifecycle), "rule")})
	if b.Logging != nil {
		rows = append(rows, []string{"Access log", transfer.Printable("s3://" + b.Logging.Bucket + "/" + b.Logging.Prefix)})
	}
	for _, r := range [][]string{{"Shown from", b.Shown}, {"Durability", b.Durability}, {"Copies", b.Copies}, {"ETags", b.ETag}} {
		if r[1] != "" {
			rows = append(rows, []string{r[0], transfer.Printable(r[1])})
		}
	}
	return rows
}

func (o *options) bucketRemove() *cobra.Command {
	s := o.objects()
	var force bool
	cmd := &cobra.Command{Use: "rm NAME", Short: "Remove a bucket", Args: exactly("NAME"), ValidArgsFunction: s.completeBuckets}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := s.client(cmd)
		if err != nil {
			return err
		}
		if force {
			if err := s.empty(cmd, c, args[0]); err != nil {
				return misnamed(err)
			}
		}
		if err := c.RemoveBucket(cmd.Context(), args[0]); err != nil {
			return misnamed(err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Bucket %s is removed.\n", args[0])
		return nil
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove all that is in it first, older versions too, for good")
	return s.flags(cmd)
}

// empty removes all that a bucket holds.
func (s *objects) empty(cmd *cobra.Command, c *transfer.Client, name string) error {
	a, err := address("s3://" + name)
	if err != nil {
		return err
	}
	if err := c.AbortUploads(cmd.Context(), name); err != nil {
		return err
	}
	empty := true
	for _, err := range c.Versions(cmd.Context(), a, true) {
		if err != nil {
			return err
		}
		empty = false
		break
	}
	if empty {
		return nil
	}
	p, err := c.Removing(cmd.Context(), a, true, true)
	if err != nil {
		return err
	}
	defer p.Close()
	t := newTranscript(cmd, "rm", false)
	if err := t.run(cmd.Context(), c, p); err != nil {
		return err
	}
	return t.close()
}

func (o *options) bucketVersioning() *cobra.Command {
	s := o.objects()
	cmd := &cobra.Command{
		Use: "versioning NAME on|off", Short: "Keep older versions of objects from now on, or no longer",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := exactly("NAME", "on or off")(cmd, args); err != nil {
				return err
			}
			if args[1] != "on" && args[1] != "off" {
				return usage.Errorf("versioning is on or off, not %s", args[1])
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []string{"on", "off"}, cobra.ShellCompDirectiveNoFileComp
			}
			return s.completeBuckets(cmd, args, typed)
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := s.client(cmd)
		if err != nil {
			return err
		}
		if err := c.SetVersioning(cmd.Context(), args[0], args[1] == "on"); err != nil {
			return misnamed(err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Versioning of bucket %s is %s.\n", args[0], args[1])
		return nil
	}
	return s.flags(cmd)
}

type (
	documentGet func(*transfer.Client, context.Context, string) (string, error)
	documentSet func(*transfer.Client, context.Context, string, string) error
)

// documentBytesMax bounds a policy or a set of rules.
const documentBytesMax = 1 << 20

// bucketDocument is the verbs get, set and rm for a document that a bucket has.
func (o *options) bucketDocument(what, about string, get documentGet, set documentSet) *cobra.Command {
	cmd := &cobra.Command{Use: what, Short: "Read and write " + about}
	sub := func(use, short, names string, run func(cmd *cobra.Command, c *transfer.Client, args []string) error) {
		s := o.objects()
		v := &cobra.Command{Use: use + " " + names, Short: short + " the " + what + " of a bucket", Args: exactly(strings.Fields(names)...), ValidArgsFunction: s.completeBuckets}
		v.RunE = func(cmd *cobra.Command, args []string) error {
			c, err := s.client(cmd)
			if err != nil {
				return err
			}
			return misnamed(run(cmd, c, args))
		}
		cmd.AddCommand(s.flags(v))
	}
	sub("get", "Print", "NAME", func(cmd *cobra.Command, c *transfer.Client, args []string) error {
		text, err := get(c, cmd.Context(), args[0])
		if err == nil {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(text))
		}
		return err
	})
	sub("set", "Set", "NAME FILE", func(cmd *cobra.Command, c *transfer.Client, args []string) error {
		text, err := readDocument(cmd, args[1])
		if err != nil {
			return err
		}
		if strings.TrimSpace(text) == "" {
			return usage.Errorf("%s is empty; `%s rm %s` removes the %s", args[1], cmd.Parent().CommandPath(), args[0], what)
		}
		if err := set(c, cmd.Context(), args[0], text); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "The %s of bucket %s is set.\n", what, args[0])
		return nil
	})
	sub("rm", "Remove", "NAME", func(cmd *cobra.Command, c *transfer.Client, args []string) error {
		if err := set(c, cmd.Context(), args[0], ""); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "The %s of bucket %s is removed.\n", what, args[0])
		return nil
	})
	return cmd
}

// readDocument reads a file; - is standard input.
func readDocument(cmd *cobra.Command, path string) (string, error) {
	var in io.Reader = cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", usage.Error(err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, documentBytesMax+1))
	if err == nil && len(text) > documentBytesMax {
		err = fmt.Errorf("%s is larger than %s", path, term.Bytes(documentBytesMax))
	}
	return string(text), usage.Error(err)
}
