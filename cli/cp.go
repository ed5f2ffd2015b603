package cli

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"polder.dev/polder/internal/usage"
	"polder.dev/polder/storage/transfer"
)

func (o *options) cp() *cobra.Command {
	s := o.objects()
	var deep bool
	cmd := &cobra.Command{
		Use:   "cp SOURCE DESTINATION",
		Short: "Copy objects to, from and inside the object store",
		Long: `Copy a file to the store, an object to a file, or an object to another one inside
the store. An address is s3://BUCKET/KEY, a path, or - for standard input or output.
With -r all that is below a directory or a prefix is copied: DIR/a to PREFIX/a.

A copy that was interrupted goes on where it was when it is run again. Downloads are
verified before they get their name. Links that lead out of a directory are left out.`,
		Example: "  polder cp model.safetensors s3://models/llama/\n  polder cp -r s3://data/imagenet ./imagenet\n  tar c logs | polder cp - s3://archive/logs.tar",
		Args:    exactly("SOURCE", "DESTINATION"), ValidArgsFunction: s.completeAddresses,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		from, to, err := fromTo(args)
		if err != nil {
			return err
		}
		if deep && (from.Stream() || to.Stream()) {
			return usage.Errorf("-r copies directories, and - is none")
		}
		c, err := s.client(cmd)
		if err != nil {
			return err
		}
		if in, out, err := streams(cmd, from, to, deep); err != nil {
			return err
		} else if in != nil || out != nil {
			return pipe(cmd, c, from, to, in, out)
		}
		p, err := c.Copying(cmd.Context(), from, to, deep)
		if err != nil {
			return misnamed(err)
		}
		defer p.Close()
		t := newTranscript(cmd, "cp", false)
		if err := t.run(cmd.Context(), c, p); err != nil {
			return err
		}
		return t.close()
	}
	cmd.Flags().BoolVarP(&deep, "recursive", "r", false, "all that is below a directory or a prefix")
	s.moving(cmd)
	return s.flags(cmd)
}

// streams opens what is no file: -, a pipe or a device. Both are nil where all is.
func streams(cmd *cobra.Command, from, to transfer.Address, deep bool) (in io.ReadCloser, out io.WriteCloser, err error) {
	special := func(a transfer.Address) bool {
		info, err := os.Stat(a.Path)
		return err == nil && !info.IsDir() && info.Mode()&(fs.ModeNamedPipe|fs.ModeDevice|fs.ModeCharDevice) != 0
	}
	switch {
	case deep || from.Remote() == to.Remote():
		return nil, nil, nil
	case from.Stream():
		return io.NopCloser(cmd.InOrStdin()), nil, nil
	case to.Stream():
		return nil, keep{cmd.OutOrStdout()}, nil
	case !from.Remote() && special(from):
		in, err = os.Open(from.Path)
	case !to.Remote() && special(to):
		out, err = os.OpenFile(to.Path, os.O_WRONLY, 0)
	}
	if err != nil {
		return nil, nil, usage.Error(err)
	}
	return in, out, nil
}

// keep is a writer that stays open.
type keep struct{ io.Writer }

func (keep) Close() error { return nil }

// pipe copies from in, or to out.
func pipe(cmd *cobra.Command, c *transfer.Client, from, to transfer.Address, in io.ReadCloser, out io.WriteCloser) error {
	t := newTranscript(cmd, "cp", false)
	if out != nil {
		t.out = io.Discard // it may be where the object goes
	}
	stop := t.draw(cmd.Context())
	var err error
	if in != nil {
		if to.Key == "" || to.Key[len(to.Key)-1] == '/' {
			err = usage.Errorf("%s is no object; a stream needs a name, as in s3://BUCKET/KEY", to)
		} else {
			err = c.Write(cmd.Context(), in, to, &t.meter)
		}
		_ = in.Close()
	} else {
		err = c.Read(cmd.Context(), from, "", out, &t.meter)
		if cerr := out.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("writing %s: %w", to, cerr)
		}
	}
	stop()
	if err != nil {
		return misnamed(err)
	}
	return t.close()
}
