package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"polder.dev/polder/internal/term"
	"polder.dev/polder/storage/transfer"
)

// drawEvery is how often progress is drawn anew.
const drawEvery = 200 * time.Millisecond

// transcript tells people, or a log, how jobs go: on a terminal by one line that is
// drawn again and again, else by a line for each object.
type transcript struct {
	meter     transfer.Meter
	out, errs io.Writer
	verb      string
	dry       bool
	began     time.Time

	mu   sync.Mutex
	line *term.Line // nil where there is no terminal
	left int64      // that were left out
	dirs int64
}

func newTranscript(cmd *cobra.Command, verb string, dry bool) *transcript {
	t := &transcript{out: cmd.OutOrStdout(), errs: cmd.ErrOrStderr(), verb: verb, dry: dry, began: time.Now()}
	if term.Is(t.errs) {
		t.line = term.NewLine(t.errs)
	}
	return t
}

// draw keeps the line up to date until the func it returns is called.
func (t *transcript) draw(ctx context.Context) (stop func()) {
	if t.line == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		for pause(ctx, drawEvery) == nil {
			text := progressText(&t.meter, time.Since(t.began))
			t.mu.Lock()
			t.line.Set(t.verb + "  " + text)
			t.mu.Unlock()
		}
	})
	return func() {
		cancel()
		done.Wait()
		t.line.Clear()
	}
}

// progressText says how far it is.
func progressText(m *transfer.Meter, took time.Duration) string {
	bytes, all := m.Bytes.Load(), m.BytesAll.Load()
	objects := m.Objects.Load() + m.Skipped.Load() + m.Failed.Load()
	rate := 0.0
	if s := took.Seconds(); s > 0 {
		rate = float64(bytes-m.Reused.Load()) / s
	}
	speed := term.Bytes(int64(max(rate, 0))) + "/s"
	if all == 0 && !m.Planned.Load() {
		return fmt.Sprintf("%s  %s", term.Bytes(bytes), speed)
	}
	if !m.Planned.Load() {
		return fmt.Sprintf("%s  %s  %s, and more are being listed", term.Bytes(bytes), speed, plural(objects, "object"))
	}
	share := 1.0
	if all > 0 {
		share = float64(bytes) / float64(all)
	}
	text := fmt.Sprintf("%s  %s of %s  %s", term.Bar(share, 16), term.Bytes(bytes), term.Bytes(all), speed)
	if rate > 0 && bytes < all {
		text += fmt.Sprintf("  %s left", time.Duration(float64(all-bytes)/rate*float64(time.Second)).Round(time.Second))
	}
	if n := m.ObjectsAll.Load(); n > 1 {
		text += fmt.Sprintf("  %d of %s", objects, plural(n, "object"))
	}
	return text
}

// say writes a line to w, clear of the line that is drawn.
func (t *transcript) say(w io.Writer, format string, args ...any) {
	if t.line != nil {
		t.line.Clear()
	}
	fmt.Fprintf(w, format+"\n", args...)
}

// report is what a Run calls.
func (t *transcript) report(r transfer.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	arrow := r.From
	if r.To != "" {
		arrow += " -> " + r.To
	}
	if r.Action == transfer.Remove && r.Note != "" {
		arrow += " (" + r.Note + ")"
	}
	switch {
	case r.Err != nil && strings.Contains(r.Err.Error(), r.From):
		t.say(t.errs, "failed: %v", r.Err)
	case r.Err != nil:
		t.say(t.errs, "failed: %s: %v", arrow, r.Err)
	case r.Action == transfer.Left:
		t.left++
		t.say(t.errs, "left out: %s: %s", r.From, r.Note)
	case r.Same:
	case t.dry:
		t.say(t.out, "would %s %s", doing[r.Action], arrow)
	case t.line == nil:
		t.say(t.out, "%s %s", did[r.Action], arrow)
	}
	if r.Action == transfer.Directory && r.Err == nil {
		t.dirs++
	}
}

var (
	doing = map[transfer.Action]string{transfer.Upload: "upload", transfer.Download: "download", transfer.Copy: "copy", transfer.Remove: "remove", transfer.Directory: "make directory"}
	did   = map[transfer.Action]string{transfer.Upload: "uploaded", transfer.Download: "downloaded", transfer.Copy: "copied", transfer.Remove: "removed", transfer.Directory: "made directory"}
)

// run does the jobs of p and tells about them.
func (t *transcript) run(ctx context.Context, c *transfer.Client, p *transfer.Plan) error {
	stop := t.draw(ctx)
	defer stop()
	err := c.Run(ctx, p, t.dry, &t.meter, t.report)
	if ctx.Err() != nil {
		err = errors.New(t.verb + " was interrupted; run again, it goes on where it was")
	}
	return err
}

// close says how it all went. The error is not nil if anything failed.
func (t *transcript) close() error {
	m := &t.meter
	if failed := m.Failed.Load(); failed > 0 {
		return fmt.Errorf("%s: %d of %s failed; they are named above", t.verb, failed, plural(m.Objects.Load()+m.Skipped.Load()+failed, "object"))
	}
	fmt.Fprintln(t.out, t.summary(time.Since(t.began)))
	return nil
}

func (t *transcript) summary(took time.Duration) string {
	m := &t.meter
	var b strings.Builder
	objects := m.Objects.Load() - t.dirs
	switch {
	case t.dry:
		fmt.Fprintf(&b, "%s would change", plural(objects, "object"))
	case m.Bytes.Load() > 0 || t.verb != "rm":
		moved := m.Bytes.Load() - m.Reused.Load()
		fmt.Fprintf(&b, "%s, %s in %s", plural(objects, "object"), term.Bytes(m.Bytes.Load()), took.Round(100*time.Millisecond))
		if s := took.Seconds(); s >= 0.1 && moved > 0 {
			fmt.Fprintf(&b, " (%s/s)", term.Bytes(int64(float64(moved)/s)))
		}
	default:
		fmt.Fprintf(&b, "%s removed", plural(objects, "object"))
	}
	add := func(n int64, format string, args ...any) {
		if n > 0 {
			b.WriteString("; ")
			fmt.Fprintf(&b, format, args...)
		}
	}
	add(m.Skipped.Load(), "%d were the same", m.Skipped.Load())
	add(m.Reused.Load(), "%s were there from an earlier try", term.Bytes(m.Reused.Load()))
	add(t.dirs, "%s from markers", strings.Replace(plural(t.dirs, "directory"), "ys", "ies", 1))
	add(t.left, "%d left out", t.left)
	add(m.Unverified.Load(), "%d could not be verified, for the store has no checksum of them", m.Unverified.Load())
	return b.String() + "."
}
