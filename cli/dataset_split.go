package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"polder.dev/polder/internal/usage"
)

// splitting is how `polder dataset split` parts a table.
type splitting struct {
	label            string
	held, validation float64
	seed             uint64
}

func (o *options) datasetSplit() *cobra.Command {
	var q splitting
	cmd := &cobra.Command{
		Use: "split FILE.csv DIR", Short: "Part a table into rows to learn from and rows to judge by", Args: exactly("FILE.csv", "DIR"),
		Long: `Part a table into DIR/train.csv, DIR/held.csv and, if asked for, DIR/validation.csv: what
is learned from, what is judged by, and what thresholds are chosen by. Rows are drawn by
the seed, and labels are shared alike. What is judged by must be seen by no model before:
neither by a student nor by its teacher.`,
		Example: "  polder dataset split claims.csv split/ --label fraud\n  polder sync split s3://claims/",
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, label, err := readSheet(args[0], q.label)
		if err != nil {
			return err
		}
		names, parts := []string{"train.csv", "held.csv"}, []float64{q.held}
		if cmd.Flags().Changed("validation") {
			names, parts = append(names, "validation.csv"), append(parts, q.validation)
		}
		sheets, err := s.Split(label, parts, q.seed)
		if err != nil {
			return usage.Errorf("%s: %w", args[0], err)
		}
		files := map[string]func(io.Writer) error{}
		for i, n := range names {
			files[n] = sheets[i].Write
		}
		if err := writeNew(args[1], files); err != nil {
			return err
		}
		for i, n := range names {
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d rows\n", filepath.Join(args[1], n), len(sheets[i].Rows))
		}
		return nil
	}
	cmd.Flags().StringVar(&q.label, "label", "", "column of labels, by name or number from 1; the last by default")
	cmd.Flags().Float64Var(&q.held, "held", 0.2, "the part to judge by")
	cmd.Flags().Float64Var(&q.validation, "validation", 0, "the part to choose thresholds by")
	cmd.Flags().Uint64Var(&q.seed, "seed", 1, "what rows are drawn by")
	return cmd
}

// writeNew writes files below dir, which it makes if need be; tables for the owner alone.
// Nothing is written where one of them is there already.
func writeNew(dir string, files map[string]func(io.Writer) error) error {
	for n := range files {
		if _, err := os.Lstat(filepath.Join(dir, n)); err == nil {
			return usage.Errorf("%s is there already; name another directory, or remove it", filepath.Join(dir, n))
		}
	}
	for n, write := range files {
		path := filepath.Join(dir, n)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return usage.Error(err)
		}
		mode := os.FileMode(0o644)
		if filepath.Ext(n) == ".csv" {
			mode = 0o600 // a person's data
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return usage.Error(err)
		}
		if err := errors.Join(write(f), f.Close()); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	return nil
}
