package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"polder.dev/polder/device"
	"polder.dev/polder/device/discovery"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
)

// machine is where devices are looked for, when it is not in the cloud.
type machine struct {
	local      bool
	root, from string
}

func (m *machine) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&m.local, "local", false, "look at this machine, not at the cloud")
	cmd.Flags().StringVar(&m.root, "root", "", "look at a copy of a machine's files below this directory")
	cmd.Flags().StringVar(&m.from, "from", "", "read what a vendor's program printed, such as nvidia-smi -q -x, from this `file`; - is the standard input")
	_ = cmd.MarkFlagDirname("root")
	cmd.MarkFlagsMutuallyExclusive("local", "root", "from")
}

// said reports whether one of the flags was given.
func (m *machine) said() bool { return m.local || m.root != "" || m.from != "" }

func (o *options) devices() *cobra.Command {
	var m machine
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "List accelerators, and what can be said of them",
		Long: `List the accelerators of the cloud: how many there are of each product and how
many are free. Without a cloud, or with --local, --root or --from, list those of a
machine.`,
		Args: cobra.NoArgs,
	}
	m.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !m.said() && !o.known(cmd) {
			m.local = true
			if !o.json() {
				fmt.Fprintln(cmd.ErrOrStderr(), "No cloud is known here; these are the devices of this machine.")
			}
		}
		if !m.said() {
			return o.cloudDevices(cmd)
		}
		v, err := m.inventory(cmd)
		if err != nil {
			return err
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), v)
		}
		return showInventory(cmd.OutOrStdout(), cmd.ErrOrStderr(), v, o.output == "wide")
	}
	o.flags(cmd, "json", "wide")
	cmd.AddCommand(o.topology(), o.explain(), o.conformance(), o.cordon(), o.drain(), o.uncordon())
	return cmd
}

// known reports whether a cloud was named, or is found where one is looked for.
func (o *options) known(cmd *cobra.Command) bool {
	file := o.findKubeconfig(cmd)
	if file != "" {
		_, err := os.Stat(file)
		return err == nil || o.kubeconfig != ""
	}
	home, err := os.UserHomeDir()
	if os.Getenv("KUBECONFIG") != "" || err != nil {
		return true
	}
	_, err = os.Stat(home + "/.kube/config")
	return err == nil
}

// inventory looks where the flags say.
func (m *machine) inventory(cmd *cobra.Command) (device.Inventory, error) {
	if m.from != "" {
		return readOutput(m.from, cmd.InOrStdin())
	}
	root := m.root
	if root == "" {
		root = "/"
	}
	h, done, err := discovery.Open(root)
	if h == nil {
		return device.Inventory{}, usage.Errorf("--root %s: %w", m.root, err)
	}
	defer done()
	v := discovery.Run(cmd.Context(), h, discovery.Adapters())
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		for _, e := range many.Unwrap() {
			v.Problems = append(v.Problems, device.Problem{Adapter: "pci", What: e.Error()})
		}
	}
	return v, nil
}

// outputBytesMax is the most that is read of a saved output.
const outputBytesMax = 16 << 20

func readOutput(file string, in io.Reader) (device.Inventory, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return device.Inventory{}, usage.Errorf("--from: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, outputBytesMax+1))
	if err != nil {
		return device.Inventory{}, fmt.Errorf("reading %s: %w", file, err)
	}
	if len(text) > outputBytesMax {
		return device.Inventory{}, usage.Errorf("--from %s: it is longer than %d MiB, and no output of a vendor's program is", file, outputBytesMax>>20)
	}
	v, err := discovery.Read(text, discovery.Adapters())
	if errors.Is(err, device.ErrFormat) && err != device.ErrFormat { //nolint:errorlint // what wraps it says more
		return v, usage.Errorf("--from %s: %w", file, err)
	}
	if errors.Is(err, device.ErrFormat) {
		return v, usage.Errorf("--from %s: no adapter knows this format; known are %s", file, strings.Join(discovery.Formats(), ", "))
	}
	return v, err
}

// showInventory writes a line per device, and the problems where they do not get
// between programs and the table.
func showInventory(out, errs io.Writer, v device.Inventory, wide bool) error {
	head := []string{"DEVICE", "KIND", "PRODUCT", "MEMORY", "SOFTWARE", "DRIVER", "NUMA", "FABRIC", "HEALTH"}
	if wide {
		head = append(head, "VENDOR", "ARCHITECTURE", "FORM", "LINK", "UUID", "FILES")
	}
	rows := [][]string{head}
	for i := range v.Devices {
		rows = append(rows, deviceRow(&v.Devices[i], wide))
	}
	if len(v.Devices) == 0 {
		fmt.Fprintln(out, "There are no accelerators.")
	} else if err := term.Table(out, rows); err != nil {
		return err
	}
	for _, p := range v.Problems {
		fmt.Fprintf(errs, "%s: %s\n", p.Adapter, p.Error())
	}
	return nil
}

func deviceRow(d *device.Device, wide bool) []string {
	fabric := "-"
	if d.Fabric != nil {
		fabric = d.Fabric.Type
	}
	numa := "-"
	if d.NUMA != nil {
		numa = fmt.Sprint(*d.NUMA)
	}
	product := d.Product
	if d.Profile != "" {
		product += " " + d.Profile
	}
	row := []string{d.Name, string(d.Kind), product, size(d.Memory), dash(d.Software), dash(d.Driver.Version), numa, fabric, healthOf(d)}
	if !wide {
		return row
	}
	link := ""
	if d.PCI != nil {
		link = d.PCI.Link.String()
	}
	var files []string
	for _, n := range d.Nodes {
		if !n.Shared {
			files = append(files, n.Path)
		}
	}
	return append(row, d.Vendor, dash(d.Architecture), string(d.Form), dash(link), d.UUID, dash(strings.Join(files, ",")))
}

func healthOf(d *device.Device) string {
	text := string(d.Health.State)
	if len(d.Health.Faults) > 0 {
		text += ": " + d.Health.Faults[0].Code
	}
	if d.Emulated {
		text += " (emulated)"
	}
	return text
}

// size is an amount of memory for people.
func size(bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	return term.Bytes(bytes)
}

// dash stands for what is not known.
func dash(s string) string { return or(s, "-") }
