package cli

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model/sheet"
)

// templates are what `polder init` writes, one directory per kind of work.
//
//go:embed template
var templates embed.FS

// starting is what `polder init` was asked for.
type starting struct {
	file, column, encode string
	held                 float64
	seed                 uint64
	shape                sheet.Shape
}

// facts of a directory that is written.
type facts struct {
	Name, Source, Label, Controls string
	Rows, Train, Held             int
	Lags, Horizon, Season         int
	Notes                         []string
}

func (o *options) initialise() *cobra.Command {
	cmd := &cobra.Command{Use: "init", Short: "Write a directory that is ready to make a specialist of your own data"}
	cmd.AddCommand(o.initRisk(), o.initForecast())
	return cmd
}

func (o *options) initRisk() *cobra.Command {
	var s starting
	cmd := &cobra.Command{
		Use: "risk DIR", Short: "Of a table with an outcome of two values, to score risks", Args: exactly("DIR"),
		Long: `Write a directory with what it takes to score risks: a teacher, a distillation and an
evaluation, ready to run, and how. With --data its rows are parted into those to learn
from and those to judge by, and words become numbers; columns.json says how, and with
--encode later rows are made numbers of alike. The name of DIR becomes that of the model.`,
		Example: "  polder init risk claims --data claims.csv --label fraud",
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if s.encode != "" {
			return s.again(cmd.OutOrStdout(), args[0])
		}
		f := &facts{Name: filepath.Base(args[0])}
		files, err := s.risk(f)
		if err != nil {
			return err
		}
		return begin(cmd.OutOrStdout(), "risk", args[0], f, files)
	}
	cmd.Flags().StringVar(&s.file, "data", "", "a CSV file, one row per case")
	cmd.Flags().StringVar(&s.column, "label", "", "column of the outcome, by name or number from 1; the last by default")
	cmd.Flags().Float64Var(&s.held, "held", 0.2, "the part to judge by")
	cmd.Flags().Uint64Var(&s.seed, "seed", 1, "what rows are drawn by")
	cmd.Flags().StringVar(&s.encode, "encode", "", "a columns.json: make numbers of --data alike, into DIR/encoded.csv, and nothing else")
	return cmd
}

func (o *options) initForecast() *cobra.Command {
	var s starting
	cmd := &cobra.Command{
		Use: "forecast DIR", Short: "Of a series of numbers, to forecast it", Args: exactly("DIR"),
		Long: `Write a directory with what it takes to forecast a series: a teacher, a distillation and
an evaluation, ready to run, and how. With --data the series is cut into windows, the
latest of which are kept to judge by, and it is told how wrong the simple controls are on
these: the last value, that of a season ago, and the season's mean. series.json says how
rows were made, and with --encode the latest values are made one alike, which a service
can be asked about. The name of DIR becomes that of the model.`,
		Example: "  polder init forecast load --data load.csv --column megawatts --season 24 --horizon 6",
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if s.encode != "" {
			return s.latest(cmd.OutOrStdout(), args[0])
		}
		f := &facts{Name: filepath.Base(args[0])}
		files, err := s.forecast(f)
		if err != nil {
			return err
		}
		return begin(cmd.OutOrStdout(), "forecast", args[0], f, files)
	}
	cmd.Flags().StringVar(&s.file, "data", "", "a CSV file, one row per step, in order")
	cmd.Flags().StringVar(&s.column, "column", "", "column of the series, by name or number from 1; the last by default")
	cmd.Flags().IntVar(&s.shape.Lags, "lags", 24, "values that a forecast sees")
	cmd.Flags().IntVar(&s.shape.Horizon, "horizon", 1, "steps ahead")
	cmd.Flags().IntVar(&s.shape.Season, "season", 0, "steps after which the series repeats; 0: it does not")
	cmd.Flags().Float64Var(&s.shape.Held, "held", 0.2, "the part to judge by, the latest")
	cmd.Flags().StringVar(&s.encode, "encode", "", "a series.json: make a row of the latest values of --data alike, into DIR/encoded.csv, and nothing else")
	return cmd
}

// risk makes tables of a table with an outcome.
func (s *starting) risk(f *facts) (map[string]func(io.Writer) error, error) {
	if s.file == "" {
		return nil, nil
	}
	all, label, err := readSheet(s.file, s.column)
	if err != nil {
		return nil, err
	}
	if n := all.Gaps(label); n > 0 && n < len(all.Rows) {
		return nil, usage.Errorf("%s: column %s has no value in %d rows; take these out, or name the column of the outcome with --label", s.file, all.Name(label), n)
	}
	if n := len(all.Counts(label)); n != 2 {
		return nil, usage.Errorf("%s: column %s has %d different values; an outcome has two: name its column with --label", s.file, all.Name(label), n)
	}
	parts, err := all.Split(label, []float64{s.held}, s.seed)
	if err != nil {
		return nil, usage.Errorf("%s: %w", s.file, err)
	}
	encoder, err := sheet.LearnEncoder(parts[0], label)
	if err != nil {
		return nil, usage.Errorf("%s: %w", s.file, err)
	}
	files := map[string]func(io.Writer) error{"data/columns.json": func(w io.Writer) error { return printJSON(w, encoder) }}
	for i, name := range []string{"train", "held"} {
		out, err := encoder.Apply(parts[i])
		if err != nil {
			return nil, usage.Errorf("%s: %w", s.file, err)
		}
		files["data/"+name+"/"+name+".csv"] = out.Write
	}
	f.Source, f.Label, f.Rows, f.Train, f.Held = filepath.Base(s.file), all.Name(label), len(all.Rows), len(parts[0].Rows), len(parts[1].Rows)
	counts, common := parts[1].Counts(label), ""
	for _, v := range slices.Sorted(maps.Keys(counts)) {
		if common == "" || counts[v] > counts[common] {
			common = v
		}
	}
	f.Notes = append(f.Notes, fmt.Sprintf("control: always answering `%s` is right in %.4f of the rows to judge by", common, float64(counts[common])/float64(f.Held)))
	for _, c := range slices.Sorted(maps.Keys(encoder.Dropped)) {
		f.Notes = append(f.Notes, fmt.Sprintf("column `%s` is left out: %s", c, encoder.Dropped[c]))
	}
	return files, nil
}

// again makes numbers of rows as columns.json says.
func (s *starting) again(w io.Writer, dir string) error {
	var e sheet.Encoder
	if err := s.written("polder init risk", &e); err != nil {
		return err
	}
	if len(e.Columns) == 0 {
		return usage.Errorf("%s: `polder init risk` did not write it: it has no columns", s.encode)
	}
	rows, _, err := readSheet(s.file, "")
	if err != nil {
		return err
	}
	out, err := e.Apply(rows)
	if err != nil {
		return usage.Errorf("%s: %w", s.file, err)
	}
	if err := writeNew(dir, map[string]func(io.Writer) error{"encoded.csv": out.Write}); err != nil {
		return err
	}
	what := "without labels, for `polder predict`"
	if len(out.Names) > len(e.Names()) {
		what = "with labels, for `polder evaluate`"
	}
	fmt.Fprintf(w, "%s: %d rows, %s\n", filepath.Join(dir, "encoded.csv"), len(out.Rows), what)
	return nil
}

// forecast makes windows of a series.
func (s *starting) forecast(f *facts) (map[string]func(io.Writer) error, error) {
	f.Lags, f.Horizon, f.Season = s.shape.Lags, s.shape.Horizon, s.shape.Season
	f.Controls = "last=" + sheet.ColumnLast
	if s.shape.Season > 0 {
		f.Controls += ",season_ago=" + sheet.ColumnSeasonAgo + ",season_mean=" + sheet.ColumnSeasonMean
	}
	if s.file == "" {
		return nil, nil
	}
	all, column, err := readSheet(s.file, s.column)
	if err != nil {
		return nil, err
	}
	w, err := all.Cut(column, s.shape)
	if err != nil {
		return nil, usage.Errorf("%s: %w", s.file, err)
	}
	f.Source, f.Label, f.Rows, f.Train, f.Held = filepath.Base(s.file), all.Name(column), len(all.Rows), len(w.Train.Rows), len(w.Held.Rows)
	title := map[string]string{sheet.ColumnLast: "the last value", sheet.ColumnSeasonAgo: "the value a season ago", sheet.ColumnSeasonMean: "the mean at this place in the season"}
	for _, c := range slices.Sorted(maps.Keys(w.Controls)) {
		f.Notes = append(f.Notes, fmt.Sprintf("%s (`%s`): %.6g", title[c], c, w.Controls[c]))
	}
	return map[string]func(io.Writer) error{
		"data/train/train.csv": w.Train.Write, "data/held/held.csv": w.Held.Write,
		"data/series.json": func(out io.Writer) error { return printJSON(out, w.Recipe) },
	}, nil
}

// latest makes a row of the latest values as series.json says.
func (s *starting) latest(w io.Writer, dir string) error {
	var k sheet.Recipe
	if err := s.written("polder init forecast", &k); err != nil {
		return err
	}
	if k.Lags == 0 {
		return usage.Errorf("%s: `polder init forecast` did not write it: it has no lags", s.encode)
	}
	rows, _, err := readSheet(s.file, "")
	if err != nil {
		return err
	}
	out, err := k.Latest(rows)
	if err != nil {
		return usage.Errorf("%s: %w", s.file, err)
	}
	if err := writeNew(dir, map[string]func(io.Writer) error{"encoded.csv": out.Write}); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: what is seen after %d steps, for `polder predict`; asked is the value %d ahead\n", filepath.Join(dir, "encoded.csv"), len(rows.Rows), k.Horizon)
	return nil
}

// written reads what verb wrote, the file of --encode, into v.
func (s *starting) written(verb string, v any) error {
	text, err := os.ReadFile(s.encode)
	if err != nil {
		return usage.Error(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return usage.Errorf("%s: `%s` did not write it: %w", s.encode, verb, err)
	}
	if s.file == "" {
		return usage.Errorf("--encode: --data is missing; name the CSV file whose rows are to become numbers")
	}
	return nil
}

// nameShape is what a directory must be called for objects to be named after it.
var nameShape = regexp.MustCompile(`^[a-z]([-a-z0-9]{1,29}[a-z0-9])?$`)

// begin writes the directory: what the template has, and files besides.
func begin(w io.Writer, kind, dir string, f *facts, files map[string]func(io.Writer) error) error {
	if !nameShape.MatchString(f.Name) || len(f.Name) < 3 {
		return usage.Errorf("%s: a model, a bucket and jobs are named after the directory, so its name must be 3 to 31 lower-case letters, digits and '-', from a letter on", dir)
	}
	if files == nil {
		files = map[string]func(io.Writer) error{}
	}
	names, err := fs.Glob(templates, path.Join("template", kind, "*"))
	if err != nil {
		return err
	}
	for _, n := range names {
		t, err := template.ParseFS(templates, n)
		if err != nil {
			return fmt.Errorf("reading template: %w", err)
		}
		files[path.Base(n)] = func(w io.Writer) error { return t.Execute(w, f) }
	}
	if err := writeNew(dir, files); err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintln(w, filepath.Join(dir, n))
	}
	for _, n := range f.Notes {
		fmt.Fprintln(w, strings.ReplaceAll(n, "`", ""))
	}
	fmt.Fprintf(w, "What to do with it is in %s.\n", filepath.Join(dir, "README.md"))
	return nil
}
