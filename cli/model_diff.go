package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"polder.dev/polder/internal/term"
	"polder.dev/polder/model/pack"
)

// difference is one thing in which two versions differ; empty: one has no such thing.
type difference struct {
	Of   string `json:"of"`
	Name string `json:"name,omitempty"`
	A    string `json:"a,omitempty"`
	B    string `json:"b,omitempty"`
	// Change from A to B, where both are numbers.
	Change string `json:"change,omitempty"`
}

func (o *options) modelDiff() *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff " + versionName + " " + versionName, Short: "Show in what two versions differ: metrics, parameters, data, files, licence",
		Example: "  polder model diff ocr@production ocr",
		Args:    exactly(versionName, versionName), ValidArgsFunction: o.completeVersions,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := o.find(cmd, args[0])
		if err != nil {
			return err
		}
		b, err := o.find(cmd, args[1])
		if err != nil {
			return err
		}
		all := differences(a, b)
		if o.json() {
			return printJSON(cmd.OutOrStdout(), map[string]any{"a": a.Digest, "b": b.Digest, "differences": all})
		}
		w := cmd.OutOrStdout()
		if a.Digest == b.Digest {
			fmt.Fprintf(w, "%s and %s are the same version, %s.\n", args[0], args[1], a.Digest)
			return nil
		}
		fmt.Fprintf(w, "a %s %s\nb %s %s\n\n", args[0], a.Digest, args[1], b.Digest)
		if len(all) == 0 {
			fmt.Fprintln(w, "They differ in nothing that is recorded of them.")
			return nil
		}
		return term.Table(w, differenceRows(all))
	}
	return o.flags(cmd, "json")
}

func differenceRows(all []difference) [][]string {
	rows := [][]string{{"OF", "NAME", "A", "B", "CHANGE"}}
	for _, d := range all {
		rows = append(rows, []string{d.Of, or(d.Name, "-"), or(brief(d.A), "-"), or(brief(d.B), "-"), or(d.Change, "-")})
	}
	return rows
}

// brief shortens digests, which are all different.
func brief(s string) string {
	if rest, ok := strings.CutPrefix(s, "sha256:"); ok && len(rest) > 12 {
		return "sha256:" + rest[:12]
	}
	return s
}

// differences lists in what a and b differ.
func differences(a, b *edition) []difference {
	out := []difference{}
	one := func(of, name, x, y string) {
		if x != y {
			out = append(out, difference{Of: of, Name: name, A: x, B: y, Change: change(x, y)})
		}
	}
	each := func(of string, x, y map[string]string) {
		all := maps.Clone(x)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, y)
		for _, k := range slices.Sorted(maps.Keys(all)) {
			one(of, k, x[k], y[k])
		}
	}
	one("framework", "", a.Framework, b.Framework)
	one("licence", "", a.Licence, b.Licence)
	each("metric", a.Metrics, b.Metrics)
	each("parameter", a.Lineage.Parameters, b.Lineage.Parameters)
	each("data", a.Lineage.Data, b.Lineage.Data)
	each("parent", a.Lineage.Parents, b.Lineage.Parents)
	one("job", "", a.Lineage.Job, b.Lineage.Job)
	one("source", "", a.Lineage.Source, b.Lineage.Source)
	one("code", "", a.Lineage.CodeDigest, b.Lineage.CodeDigest)
	one("runtime", "", strings.TrimSpace(a.Lineage.Runtime+" "+a.Lineage.RuntimeDigest), strings.TrimSpace(b.Lineage.Runtime+" "+b.Lineage.RuntimeDigest))
	one("workers", "", fmt.Sprint(a.Lineage.Workers), fmt.Sprint(b.Lineage.Workers))
	each("file", filesOf(a.Artifact), filesOf(b.Artifact))
	one("size", "", term.Bytes(a.SizeBytes), term.Bytes(b.SizeBytes))
	return out
}

func filesOf(a *pack.Artifact) map[string]string {
	out := map[string]string{}
	for _, l := range a.Manifest.Layers {
		out[pack.Path(l)] = l.Digest.String()
	}
	return out
}

// change from one number to another, or "".
func change(a, b string) string {
	x, err := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	if err != nil || err2 != nil {
		return ""
	}
	return fmt.Sprintf("%+.4g", y-x)
}
