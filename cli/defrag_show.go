package cli

import (
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/yaml"

	"polder.dev/polder/internal/term"
	"polder.dev/polder/sched"
	"polder.dev/polder/sched/census"
	"polder.dev/polder/sched/defrag"
)

// nodeBar is how much of each device of a node is free, in thousandths; -1 is a device
// that takes no work.
type nodeBar struct {
	Node   string `json:"node"`
	Before []int  `json:"before"`
	After  []int  `json:"after"`
}

// bars are the nodes that have devices, as they are and as the moves leave them.
func bars(c *census.Census, moves []defrag.Move) []nodeBar {
	requests := map[string]sched.Request{}
	for _, w := range c.Work {
		requests[w.Name] = w.Request
	}
	at := map[string]int{}
	out := []nodeBar{}
	for _, n := range c.Snapshot.Nodes {
		if len(n.Devices) == 0 {
			continue
		}
		at[n.Name] = len(out)
		b := nodeBar{Node: n.Name}
		for _, d := range n.Devices {
			free := d.Free
			if census.OutOfUse(d.Model) && free == 0 {
				free = -1
			}
			b.Before, b.After = append(b.Before, free), append(b.After, free)
		}
		out = append(out, b)
	}
	give := func(d sched.Decision, milli int) {
		for _, i := range d.Devices {
			if free := &out[at[d.Node]].After[i]; *free >= 0 {
				*free += milli
			}
		}
	}
	for _, m := range moves {
		r := requests[m.Name]
		give(m.From, r.Share)
		give(m.To, -r.Share)
	}
	return out
}

// draw is a sign for each device: taken, in part, free, out of use.
func draw(free []int) string {
	var b strings.Builder
	for _, f := range free {
		switch {
		case f < 0:
			b.WriteRune('×')
		case f == 0:
			b.WriteRune('█')
		case f < sched.Whole:
			b.WriteRune('▄')
		default:
			b.WriteRune('░')
		}
	}
	return b.String()
}

// show writes the plan in a format.
func (p *proposal) show(w io.Writer, format string) error {
	switch format {
	case "json":
		return printJSON(w, p)
	case "yaml":
		return printYAML(w, p)
	}
	if p.devices == 0 {
		fmt.Fprintln(w, "No driver of this cloud publishes an accelerator of a node, so there is nothing to move.")
		return nil
	}
	whom := "for what runs and waits here"
	if p.room > 0 {
		whom = fmt.Sprintf("for jobs of %d devices", p.room)
	}
	fmt.Fprintf(w, "%s of %d devices are idle, %s of them of no use %s.\n", devices(p.Before.Idle), p.devices, devices(p.Before.Useless), whom)
	if len(p.Moves) == 0 {
		p.none(w)
		return nil
	}
	rows := [][]string{{"STEP", "JOB", "FROM", "TO", "DEVICES", "GAIN", "COST"}}
	for i := range p.Moves {
		m := &p.Moves[i]
		rows = append(rows, []string{fmt.Sprint(m.Step), m.Job, strings.Join(m.From, ","), m.where(), devices(m.Devices), devices(m.Gain), fmt.Sprintf("%.0f device-seconds", m.Cost)})
	}
	fmt.Fprintln(w)
	if err := term.Table(w, rows); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := p.picture(w); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nAfter %s: %s of no use%s.\n", many(len(p.Moves), "move"), devices(p.After.Useless), p.gains())
	p.others(w)
	return nil
}

// picture draws the nodes that change.
func (p *proposal) picture(w io.Writer) error {
	rows := [][]string{{"NODE", "NOW", "THEN"}}
	for _, b := range p.Nodes {
		if before, after := draw(b.Before), draw(b.After); before != after {
			rows = append(rows, []string{b.Node, before, after})
		}
	}
	return term.Table(w, rows)
}

// gains says what there is room for that there was none before.
func (p *proposal) gains() string {
	var out []string
	for i, r := range p.After.Room {
		if was := p.Before.Room[i].Requests; r.Requests != was {
			out = append(out, fmt.Sprintf("%d of %s (%d before)", r.Requests, many(r.Count, "device"), was))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return "; there is room for jobs on one node: " + strings.Join(out, ", ")
}

// none says why nothing is moved.
func (p *proposal) none(w io.Writer) {
	switch {
	case !p.expects:
		fmt.Fprintln(w, "No job that wants devices runs or waits, so nothing says what room is for: give --for N to make room for jobs of N devices.")
	default:
		fmt.Fprintln(w, "No move would gain enough.")
	}
	p.others(w)
}

// staysShown bounds the jobs that stay and are shown with the reason.
const staysShown = 10

func (p *proposal) others(w io.Writer) {
	for i, s := range p.Stays {
		if i == staysShown {
			fmt.Fprintf(w, "... and %d more; -o json has all.\n", len(p.Stays)-i)
			return
		}
		fmt.Fprintf(w, "%s stays: %s.\n", s.Job, s.Why)
	}
}

// devices as people count them.
func devices(n float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", n), ".0") }

func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// printYAML writes v as its JSON says it.
func printYAML(w io.Writer, v any) error {
	b, err := yaml.Marshal(v)
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}
