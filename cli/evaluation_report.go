package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model/eval"
	"polder.dev/polder/model/eval/page"
	"polder.dev/polder/model/pack"
)

func (o *options) evaluationReport() *cobra.Command {
	var file, lang string
	cmd := &cobra.Command{
		Use: "report NAME", Short: "Make a page or a picture of an evaluation's report, or fetch its numbers",
		Long: `Make a page of an evaluation's report (FILE.html, which holds all that it shows), a
picture (FILE.png), or fetch its numbers (FILE.json, or - for the standard output). The
report is what lies in the registry, with the model if the candidate is one.`,
		Example: "  polder evaluation report ocr-student-7x2kq -o report.html\n  polder evaluation report ocr-student-7x2kq -o report.html --lang zh",
		Args:    exactly("NAME"), ValidArgsFunction: o.completeEvaluations,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		write, err := reportWriter(file, lang)
		if err != nil {
			return err
		}
		c, e, err := o.findEvaluation(cmd, args[0])
		if err != nil {
			return err
		}
		if e.Status.Report == nil {
			return noReport(e)
		}
		images, err := store(cmd.Context(), c)
		if err != nil {
			return err
		}
		ref := e.Status.Report
		text, err := pack.ReadReferrer(cmd.Context(), images, ref.Reference, digest.Digest(ref.Digest), eval.BytesMax)
		if err != nil {
			return err
		}
		r, err := eval.Decode(text)
		if err != nil {
			return err
		}
		if file == "-" {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text)
			return err
		}
		if err := replaceFile(file, func(w io.Writer) error { return write(w, r, text) }); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "The report of %s is in %s.\n", e.Name, file)
		return nil
	}
	cmd.Flags().StringVarP(&file, "output", "o", "-", "file to write: .html, .png, .json, or - for JSON on the standard output")
	cmd.Flags().StringVar(&lang, "lang", "en", "language of the page: en, zh")
	_ = cmd.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions([]string{"en", "zh"}, cobra.ShellCompDirectiveNoFileComp))
	return o.flags(cmd)
}

// reportWriter is what writes a report to a file of that name.
func reportWriter(file, lang string) (func(io.Writer, *eval.Report, []byte) error, error) {
	l, err := page.ParseLanguage(lang)
	if err != nil {
		return nil, usage.Errorf("--lang %w", err)
	}
	switch ext := strings.ToLower(filepath.Ext(file)); {
	case ext == ".html" || ext == ".htm":
		return func(w io.Writer, r *eval.Report, _ []byte) error { return page.HTML(w, r, l) }, nil
	case ext == ".png" && l != page.English:
		return nil, usage.Errorf("--lang %s: pictures are in English, since the letters that are built in have no others; write .html", lang)
	case ext == ".png":
		return func(w io.Writer, r *eval.Report, _ []byte) error { return page.PNG(w, r) }, nil
	case ext == ".json" || file == "-":
		return func(w io.Writer, _ *eval.Report, text []byte) error {
			_, err := fmt.Fprintf(w, "%s\n", text)
			return err
		}, nil
	}
	return nil, usage.Errorf("-o %s: a report is written as .html, .png or .json, or - for JSON on the standard output", file)
}

// noReport says why an evaluation has none.
func noReport(e *v1alpha1.Evaluation) error {
	if !e.Status.State.Done() {
		return usage.Errorf("evaluation %s has not ended; `polder evaluation show %s` shows how far it is", e.Name, e.Name)
	}
	return usage.Errorf("evaluation %s has no report: %s", e.Name, or(e.Status.Message, "it has not said why"))
}

// replaceFile writes a file whole, or leaves what was there.
func replaceFile(name string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-")
	if err != nil {
		return usage.Errorf("writing %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(write(f), f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return os.Rename(f.Name(), name)
}
