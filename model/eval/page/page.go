// Package page makes a report readable by people who have not asked for it: a page of
// HTML that holds all that it shows, or a picture.
//
// The command line imports it. The verdict comes first, then the numbers with their
// intervals, then plots. A page loads nothing, runs nothing, and follows the reader's
// light or dark. All words of a report are foreign: they are escaped, and cut where they
// are long. The same report always gives the same bytes.
//
// It refuses to say more than the report does: what has too few rows is marked so, and what
// was not measured is absent. Pictures are in English: the letters that are built in (the
// Go fonts) have no Chinese.
package page

import (
	"bytes"
	"fmt"
	"html/template"
	"io"

	_ "embed" // the page beside this file

	"polder.dev/polder/model/eval"
)

// Language of a page.
type Language string

// The languages.
const (
	English Language = "en"
	Chinese Language = "zh"
)

// ParseLanguage reads a Language.
func ParseLanguage(s string) (Language, error) {
	switch l := Language(s); l {
	case English, Chinese:
		return l, nil
	}
	return "", fmt.Errorf("%q is neither en nor zh", s)
}

//go:embed page.html
var pageText string

// HTML writes r as a page.
func HTML(w io.Writer, r *eval.Report, l Language) error {
	t := wordsOf(l)
	p := pageOf(r, t)
	p.Language = string(l)
	for _, b := range plots(r, t) {
		var c svg
		b.draw(&c)
		p.Plots = append(p.Plots, plotted{b.title, b.about, template.HTML(c.page(width, b.height, b.title))}) //nolint:gosec // every word in it is escaped by svg
	}
	page, err := template.New("page").Parse(pageText)
	if err != nil {
		return fmt.Errorf("reading the page's own text: %w", err)
	}
	var out bytes.Buffer
	if err := page.Execute(&out, p); err != nil {
		return fmt.Errorf("writing page: %w", err)
	}
	_, err = w.Write(out.Bytes())
	return err
}

// sheet is what page.html shows.
type sheet struct {
	Language, Title, Kind string
	Words                 *words
	Verdict               []sentence
	Judged                string // passed or not, in a word; "" without requirements
	Good                  bool
	Requirements          []judged
	Head                  []string
	Rows                  []row
	Plots                 []plotted
	Facts                 [][2]string
	Notes                 []string
}

type sentence struct{ Kind, Text string } // better, worse, none, or ""

type judged struct {
	Met  bool
	Text string
}

type row struct {
	Name  string
	Cells []cell
}

type cell struct{ Value, Interval string }

type plotted struct {
	Title, About string
	Picture      template.HTML
}

// pageOf is a report's words and numbers.
func pageOf(r *eval.Report, t *words) *sheet {
	p := &sheet{Words: t, Title: fmt.Sprintf(t.title, short(r.Models[0].Name, 64)), Kind: t.tasks[r.Task]}
	for i := range r.Comparisons {
		c := &r.Comparisons[i]
		p.Verdict = append(p.Verdict, sentence{c.Verdict, t.comparison(r.Models[0].Name, c)})
	}
	if len(r.Comparisons) == 0 {
		p.Verdict = append(p.Verdict, sentence{"", t.alone(r)})
	}
	if n := len(r.Regressions); n > 0 {
		g := r.Regressions[0]
		p.Verdict = append(p.Verdict, sentence{eval.Worse, fmt.Sprintf(t.regressions, n, short(g.Column, 40), short(g.Value, 40), short(g.With, 40))})
	}
	if c := r.Contamination; c != nil && c.Exact+c.Near > 0 {
		p.Verdict = append(p.Verdict, sentence{eval.Worse, fmt.Sprintf(t.contaminated, c.Exact, c.Near, r.Data.Rows)})
	} else if c != nil {
		p.Verdict = append(p.Verdict, sentence{"", fmt.Sprintf(t.clean, c.TrainRows)})
	}
	if len(r.Requirements) > 0 {
		p.Good, p.Judged = r.Passed, t.unmet
		if r.Passed {
			p.Judged = t.passed
		}
		for i := range r.Requirements {
			p.Requirements = append(p.Requirements, judged{r.Requirements[i].Met, t.requirement(r, &r.Requirements[i])})
		}
	}
	p.Head, p.Rows = tableOf(r, t)
	p.Facts = facts(r, t)
	for _, n := range r.Notes {
		p.Notes = append(p.Notes, short(n, 400))
	}
	return p
}

// tableOf is metrics by models.
func tableOf(r *eval.Report, t *words) (head []string, rows []row) {
	head = []string{t.metric}
	scored := r.Metric == eval.Score
	for i := range r.Models {
		head = append(head, t.heading(&r.Models[i]))
	}
	for _, name := range eval.Metrics(r.Task, scored) {
		line, any := row{Name: t.metricName(name)}, false
		for i := range r.Models {
			m, ok := r.Models[i].Metrics[name]
			c := cell{Value: "–"}
			if ok {
				any = true
				c.Value = shown(name, m.Value)
				if m.Low != nil {
					c.Interval = fmt.Sprintf(t.interval, shown(name, *m.Low), shown(name, *m.High))
				}
			}
			line.Cells = append(line.Cells, c)
		}
		if any {
			rows = append(rows, line)
		}
	}
	return head, rows
}

func facts(r *eval.Report, t *words) [][2]string {
	out := [][2]string{{t.rows, fmt.Sprint(r.Data.Rows)}}
	add := func(name, value string) {
		if value != "" {
			out = append(out, [2]string{name, short(value, 200)})
		}
	}
	add(t.file, r.Data.File)
	add(t.label, r.Data.Label)
	add(t.digest, r.Data.Digest)
	add(t.seed, fmt.Sprint(r.Seed))
	if m := r.Machine; m != nil {
		add(t.processor, m.Processor)
		add(t.sandbox, m.Sandbox)
	}
	for i := range r.Models {
		m := &r.Models[i]
		add(m.Name, t.whoIs(m))
	}
	return out
}
