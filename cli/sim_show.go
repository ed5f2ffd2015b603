package cli

import (
	"fmt"
	"io"
	"strconv"

	"polder.dev/polder/internal/term"
	"polder.dev/polder/sched/sim"
)

// showSim writes a line per variant and policy.
func showSim(out io.Writer, variants []variant) error {
	head := []string{"POLICY", "ARRIVED", "ALLOCATED", "FRAGMENTED", "PODS", "NO ROOM"}
	waits := variants[0].runs[0].Result.Waits != nil
	if waits {
		head = append(head, "IN USE", "WAIT MEAN", "P50", "P90", "P99")
	}
	if len(variants) > 1 {
		head = append([]string{"CLUSTER"}, head...)
	}
	rows := [][]string{head}
	for _, v := range variants {
		for _, c := range v.runs {
			for _, percent := range stops(&c.Result, waits) {
				row := simRow(c, percent)
				if len(variants) > 1 {
					row = append([]string{v.name}, row...)
				}
				rows = append(rows, row)
			}
		}
	}
	if err := term.Table(out, rows); err != nil {
		return err
	}
	if len(variants) == 1 && len(variants[0].runs) == 1 {
		showWhy(out, variants[0].runs[0].Result.Why)
	}
	return nil
}

// showWhy says what those without room asked for, and what was missing.
func showWhy(out io.Writer, why []sim.Why) {
	if len(why) == 0 {
		return
	}
	fmt.Fprintln(out, "\nThose without room, the most common first, and what was missing in the end:")
	for _, w := range why {
		fmt.Fprintf(out, "  %d x %s\n    %s\n", w.Pods, w.Request, w.Refusal)
	}
}

// stops are the arrivals that a person wants to know of: a full cluster's worth, and
// the last. Where pods leave, what has arrived says little, and the last is enough.
func stops(r *sim.Result, leave bool) []int {
	last := len(r.Buckets) - 1
	if last > 100 && !leave {
		return []int{100, last}
	}
	return []int{last}
}

func simRow(c sim.Curve, percent int) []string {
	b, _ := c.Result.At(percent)
	row := []string{
		c.Name, fmt.Sprintf("%d %%", percent), fmt.Sprintf("%.2f %%", b.Allocation), fmt.Sprintf("%.2f %%", b.Fragmentation),
		strconv.Itoa(c.Result.Pods), strconv.Itoa(c.Result.Refused),
	}
	if w := c.Result.Waits; w != nil {
		row = append(row, fmt.Sprintf("%.2f %%", w.Use))
		for _, v := range []float64{w.Mean, w.P50, w.P90, w.P99} {
			row = append(row, fmt.Sprintf("%.0f s", v))
		}
	}
	return row
}
