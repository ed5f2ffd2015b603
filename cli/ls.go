package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/storage/transfer"
)

func (o *options) ls() *cobra.Command {
	s := o.objects()
	var deep, versions bool
	cmd := &cobra.Command{
		Use:   "ls [s3://BUCKET[/PREFIX]]",
		Short: "List buckets, or the objects of one",
		Long: `List buckets, or the objects whose keys begin with PREFIX, up to the next slash. With
-r all of them are listed.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage.Errorf("polder ls takes at most one address, got %d", len(args))
			}
			return nil
		},
		ValidArgsFunction: s.completeAddresses,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 || args[0] == "s3://" {
			return s.listBuckets(cmd)
		}
		a, err := address(args[0])
		if err != nil {
			return err
		}
		c, err := s.client(cmd)
		if err != nil {
			return err
		}
		list := c.List(cmd.Context(), a, deep)
		if versions {
			list = c.Versions(cmd.Context(), a, deep)
		}
		w := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
		n, err := 0, error(nil)
		if s.json() {
			n, err = listJSON(w, list)
		} else {
			n, err = listText(w, list, versions)
		}
		err = errors.Join(err, w.Flush())
		if err == nil && n == 0 && a.Key != "" {
			return usage.Errorf("there is nothing at %s", a)
		}
		return misnamed(err)
	}
	cmd.Flags().BoolVarP(&deep, "recursive", "r", false, "all objects below the prefix")
	cmd.Flags().BoolVar(&versions, "versions", false, "all versions and delete markers")
	return s.flags(cmd, "json")
}

// listText writes a line for each entry, as they come.
func listText(w io.Writer, list iter.Seq2[transfer.Entry, error], versions bool) (n int, err error) {
	for e, err := range list {
		if err != nil {
			return n, err
		}
		n++
		size := term.Bytes(e.Size)
		if e.Deleted {
			size = "deleted"
		}
		key := transfer.Printable(e.Key)
		switch {
		case e.Prefix:
			_, err = fmt.Fprintf(w, "%19s  %10s  %s\n", "", "DIR", key)
		case versions:
			mark := ""
			if e.Latest {
				mark = "  latest"
			}
			_, err = fmt.Fprintf(w, "%s  %10s  %s  %s%s\n", e.Modified.Local().Format(time.DateTime), size, key, transfer.Printable(e.Version), mark)
		default:
			_, err = fmt.Fprintf(w, "%s  %10s  %s\n", e.Modified.Local().Format(time.DateTime), size, key)
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// listJSON writes an array of entries, as they come; one that an error cuts stays open.
func listJSON(w io.Writer, list iter.Seq2[transfer.Entry, error]) (n int, err error) {
	lead := "[\n  "
	for e, err := range list {
		if err != nil {
			return n, err
		}
		text, err := json.Marshal(e)
		if err == nil {
			_, err = fmt.Fprintf(w, "%s%s", lead, text)
		}
		if err != nil {
			return n, err
		}
		n++
		lead = ",\n  "
	}
	end := "\n]\n"
	if n == 0 {
		end = "[]\n"
	}
	_, err = io.WriteString(w, end)
	return n, err
}

// listBuckets lists the buckets that the access key's owner has.
func (s *objects) listBuckets(cmd *cobra.Command) error {
	c, err := s.client(cmd)
	if err != nil {
		return err
	}
	list, err := c.Buckets(cmd.Context())
	if err != nil {
		return err
	}
	if s.json() {
		return printJSON(cmd.OutOrStdout(), list)
	}
	if len(list) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "There are no buckets; `polder bucket create NAME` makes one.")
		return nil
	}
	rows := [][]string{{"BUCKET", "CREATED", "SHOWN FROM"}}
	shown := false
	for _, b := range list {
		rows = append(rows, []string{transfer.Printable(b.Name), b.Created.Local().Format(time.DateTime), transfer.Printable(b.Shown)})
		shown = shown || b.Shown != ""
	}
	if !shown {
		for i := range rows {
			rows[i] = rows[i][:2]
		}
	}
	return term.Table(cmd.OutOrStdout(), rows)
}
