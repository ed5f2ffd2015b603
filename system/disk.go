package system

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/storage/server"
	"polder.dev/polder/system/layout"
)

func (v *verbs) disk() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "disk",
		Short: "List, add and drain the disks of the object store",
		Long: `List, add and drain the disks of the object store, while it serves. What has to
move moves in the background; ` + "`polder disk ls`" + ` shows how far it is.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(v.diskList(), v.diskAdd(), v.diskDrain(), v.diskRemove())
	return cmd
}

// askStore sends a request to the socket of the store in the data directory.
func (v *verbs) askStore(ctx context.Context, method, path string, in, out any) error {
	c, err := layout.New(*v.dataDir, layout.Config{})
	if err != nil {
		return usage.Error(err)
	}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://store"+path, body)
	if err != nil {
		return err
	}
	resp, err := dialSocket(server.Socket(c.Path(storeDir))).Do(req)
	switch {
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("the store's socket is for root alone; run this as root: %w", err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no store serves %s; start it with `polder up` or `polder store serve`, or name its --data-dir", c.Dir)
	case err != nil:
		return fmt.Errorf("no store serves %s; start it with `polder up` or `polder store serve`, or name its --data-dir: %w", c.Dir, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4000))
		return errors.New(strings.TrimSpace(string(text)))
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

func (v *verbs) diskList() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the disks, and what is still to be moved",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "" && output != "json" {
				return usage.Errorf("--output %q is not known; write json", output)
			}
			var d server.Disks
			if err := v.askStore(cmd.Context(), http.MethodGet, "/disks", nil, &d); err != nil {
				return err
			}
			return printAs(cmd.OutOrStdout(), output, d, func(w io.Writer) { showDisks(w, d) })
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func showDisks(w io.Writer, d server.Disks) {
	fmt.Fprintln(w, "DISK\tSTATE\tSIZE\tFREE\tDIRECTORY")
	for _, k := range d.Disks {
		state := "ready"
		switch {
		case k.Error != "":
			state = "away"
		case k.Draining:
			state = "draining"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, state, term.Bytes(k.Total), term.Bytes(k.Free), k.Dir)
	}
	for _, k := range d.Disks {
		if k.Error != "" {
			fmt.Fprintf(w, "Disk %s: %s\n", k.ID, k.Error)
		}
	}
	if !d.Settled {
		fmt.Fprintf(w, "Objects are being moved where they belong: %d entries of disk %s looked at, %d moved, %d failed.\n", d.Seen, d.On, d.Moved, d.Failed)
	}
	if d.Error != "" {
		fmt.Fprintf(w, "It does not go on: %s\n", d.Error)
	}
}

func (v *verbs) diskAdd() *cobra.Command {
	var weight float64
	var replace string
	var wait, lose bool
	cmd := &cobra.Command{
		Use:   "add DIR",
		Short: "Take an empty directory, on a disk of its own, into the store",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return usage.Error(err)
			}
			var out struct{ ID string }
			if lose && replace == "" {
				return usage.Errorf("--lose-data goes with --replace")
			}
			in := map[string]any{"dir": dir, "weight": weight, "replace": replace, "lose": lose}
			if err := v.askStore(cmd.Context(), http.MethodPost, "/disks", in, &out); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Disk %s was added.\n", out.ID)
			return v.awaitSettled(cmd, wait)
		},
	}
	cmd.Flags().Float64Var(&weight, "weight", 0, "its share beside the others' (default: its size in bytes, as theirs is)")
	cmd.Flags().StringVar(&replace, "replace", "", "disk that is away, in whose place it comes")
	cmd.Flags().BoolVar(&lose, "lose-data", false, "also if objects are lost with the disk in --replace that no other disk has")
	cmd.Flags().BoolVar(&wait, "wait", false, "return when everything has moved")
	return cmd
}

func (v *verbs) diskDrain() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "drain DISK",
		Short: "Move all that is on a disk to the others; then it leaves the store",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := v.askStore(cmd.Context(), http.MethodPost, "/disks/"+args[0]+"/drain", nil, &struct{}{}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Disk %s is being drained, and leaves the store when it is empty.\n", args[0])
			return v.awaitSettled(cmd, wait)
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "return when everything has moved")
	return cmd
}

func (v *verbs) diskRemove() *cobra.Command {
	var lose bool
	cmd := &cobra.Command{
		Use:   "rm DISK",
		Short: "Take a disk out of the store that is away for good",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/disks/" + args[0]
			if lose {
				path += "?lose=true"
			}
			if err := v.askStore(cmd.Context(), http.MethodDelete, path, nil, &struct{}{}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Disk %s was taken out.\n", args[0])
			return nil
		},
	}
	cmd.Flags().BoolVar(&lose, "lose-data", false, "also if objects are lost with it that no other disk has")
	return cmd
}

// awaitSettled shows how far the moving is until it has ended.
func (v *verbs) awaitSettled(cmd *cobra.Command, wait bool) error {
	began := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for wait {
		var d server.Disks
		if err := v.askStore(cmd.Context(), http.MethodGet, "/disks", nil, &d); err != nil {
			return err
		}
		switch {
		case d.Settled:
			fmt.Fprintf(cmd.OutOrStdout(), "Everything is where it belongs, after %s.\n", duration.HumanDuration(time.Since(began)))
			return nil
		case d.Error != "":
			return fmt.Errorf("moving objects: %s", d.Error)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%d entries looked at, %d moved\n", d.Seen, d.Moved)
		select {
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		case <-tick.C:
		}
	}
	return nil
}
