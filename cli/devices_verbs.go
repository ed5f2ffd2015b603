package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/device/profile"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
)

func (o *options) topology() *cobra.Command {
	var m machine
	cmd := &cobra.Command{
		Use:   "topology [NODE]",
		Short: "Draw how devices reach each other",
		Long: `Draw how the devices of a node, or of every node, reach each other. Words are those
of nvidia-smi: NV18 is 18 NVLinks; other fabrics bear their names; PIX is one PCIe
switch, PXB several, PHB the host bridge, NODE several host bridges of a NUMA node,
SYS the link between NUMA nodes. "?" is what nobody tells.`,
		Args: cobra.MaximumNArgs(1),
	}
	m.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		nodes := map[string][]device.Device{}
		if m.said() || !o.known(cmd) {
			if len(args) > 0 {
				return usage.Errorf("NODE is one of the cloud, and --local, --root or --from is another machine; give one of them")
			}
			v, err := m.inventory(cmd)
			if err != nil {
				return err
			}
			nodes[""] = v.Devices
		} else {
			c, err := o.open(cmd)
			if err != nil {
				return err
			}
			all, err := offers(cmd.Context(), c)
			if err != nil {
				return err
			}
			for i := range all {
				if len(args) == 0 || args[0] == all[i].Node {
					nodes[all[i].Node] = append(nodes[all[i].Node], all[i].Device)
				}
			}
			if len(args) > 0 && len(nodes) == 0 {
				return usage.Errorf("node %s has no devices, or is none; `polder devices -o wide` lists them", args[0])
			}
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), matrices(nodes))
		}
		return drawMatrices(cmd, matrices(nodes))
	}
	return o.flags(cmd, "json")
}

// matrix is how the devices of a node reach each other: Links[i][j] is the way from
// Devices[i] to Devices[j].
type matrix struct {
	Node    string          `json:"node,omitempty"`
	Devices []string        `json:"devices"`
	Links   [][]device.Link `json:"links"`
}

func matrices(nodes map[string][]device.Device) []matrix {
	out := []matrix{}
	for node, devices := range nodes {
		m := matrix{Node: node, Devices: []string{}, Links: [][]device.Link{}}
		for i := range devices {
			if devices[i].Kind == device.CPU {
				continue
			}
			m.Devices = append(m.Devices, devices[i].Name)
			row := []device.Link{}
			for j := range devices {
				if devices[j].Kind != device.CPU {
					row = append(row, device.Between(&devices[i], &devices[j]))
				}
			}
			m.Links = append(m.Links, row)
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b matrix) int { return strings.Compare(a.Node, b.Node) })
	return out
}

func drawMatrices(cmd *cobra.Command, all []matrix) error {
	w := cmd.OutOrStdout()
	for i, m := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		head := []string{m.Node}
		for j := range m.Devices {
			head = append(head, fmt.Sprint(j))
		}
		rows := [][]string{head}
		for j, name := range m.Devices {
			row := []string{fmt.Sprintf("%d %s", j, name)}
			for k, l := range m.Links[j] {
				cell := l.String()
				if j == k {
					cell = "X"
				}
				row = append(row, cell)
			}
			rows = append(rows, row)
		}
		if len(m.Devices) == 0 {
			rows = [][]string{{strings.TrimSpace(m.Node + " has no accelerators")}}
		}
		if err := term.Table(w, rows); err != nil {
			return err
		}
	}
	return nil
}

func (o *options) explain() *cobra.Command {
	var file, sandbox string
	var m machine
	cmd := &cobra.Command{
		Use:   "explain -f FILE",
		Short: "Say device by device why it fulfils a requirement or not",
		Long: `Read a requirement from FILE and say of every device of the cloud, or of a machine
with --local, --root or --from, whether it fulfils it, and if not, why. FILE is a
TrainJob, or the fields of its spec.accelerators alone.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "file of the requirement (YAML or JSON)")
	_ = cmd.MarkFlagRequired("file")
	cmd.Flags().StringVar(&sandbox, "sandbox", "", "also ask whether the devices work in this sandbox of pods, such as gvisor or kata")
	_ = cmd.RegisterFlagCompletionFunc("sandbox", cobra.FixedCompletions([]string{"gvisor", "kata", device.SandboxNone}, cobra.ShellCompDirectiveNoFileComp))
	m.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		want, err := readRequirement(file)
		if err != nil {
			return usage.Error(err)
		}
		want.Sandbox = sandbox
		all, err := o.judged(cmd, &m)
		if err != nil {
			return err
		}
		verdicts := []judgement{}
		for i := range all {
			v := claim.Explain(want, all[i].offer)
			j := judgement{Node: all[i].Node, Driver: all[i].Driver, Device: all[i].Device.Name, Product: all[i].Device.Product, Free: all[i].free(), Verdict: v}
			verdicts = append(verdicts, j)
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), verdicts)
		}
		return showVerdicts(cmd, want, verdicts, all)
	}
	return o.flags(cmd, "json")
}

// judgement is what is said of one device.
type judgement struct {
	Node    string `json:"node,omitempty"`
	Driver  string `json:"driver"`
	Device  string `json:"device"`
	Product string `json:"product"`
	Free    bool   `json:"free"`
	claim.Verdict
}

func showVerdicts(cmd *cobra.Command, want device.Requirement, verdicts []judgement, all []offered) error {
	rows := [][]string{{"NODE", "DEVICE", "PRODUCT", "FITS", "FREE", "WHY NOT"}}
	for _, v := range verdicts {
		var why []string
		for _, c := range v.Checks {
			if !c.OK {
				why = append(why, fmt.Sprintf("%s: wanted %s, has %s", c.What, c.Want, dash(c.Have)))
			}
		}
		rows = append(rows, []string{dash(v.Node), v.Device, v.Product, yes(v.Fits), yes(v.Free), strings.Join(why, "; ")})
	}
	if err := term.Table(cmd.OutOrStdout(), rows); err != nil {
		return err
	}
	list := make([]claim.Offer, len(all))
	for i := range all {
		list[i] = all[i].offer
	}
	if why := claim.Impossible(want, list); why != "" {
		fmt.Fprintln(cmd.OutOrStdout(), "\nIt cannot be fulfilled here: "+why+".")
	}
	return nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// judged are the devices to be judged, those of a machine as our driver would
// publish them.
func (o *options) judged(cmd *cobra.Command, m *machine) ([]offered, error) {
	if !m.said() && o.known(cmd) {
		c, err := o.open(cmd)
		if err != nil {
			return nil, err
		}
		return offers(cmd.Context(), c)
	}
	v, err := m.inventory(cmd)
	if err != nil {
		return nil, err
	}
	var out []offered
	for i := range v.Devices {
		p := profile.Publish(&v.Devices[i])
		out = append(out, offered{Driver: profile.Domain, Device: v.Devices[i], available: true, offer: claim.Offer{Driver: profile.Domain, Device: &p}})
	}
	return out, nil
}

// readRequirement reads a TrainJob, or accelerators alone.
func readRequirement(file string) (device.Requirement, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return device.Requirement{}, fmt.Errorf("-f: %w", err)
	}
	var head struct {
		Kind string `json:"kind"`
	}
	if err := yaml.Unmarshal(text, &head); err != nil {
		return device.Requirement{}, fmt.Errorf("%s: %w", file, usage.Line(err))
	}
	var job v1alpha1.TrainJob
	a := &job.Spec.Accelerators
	switch head.Kind {
	case "":
		if err = yaml.UnmarshalStrict(text, a); errors.Is(err, resource.ErrFormatWrong) {
			err = errors.New("memory is no amount; write one such as 80Gi")
		}
	case "TrainJob":
		err = yaml.UnmarshalStrict(text, &job)
	default:
		err = fmt.Errorf("kind: %q is not TrainJob; write one, or the fields of its spec.accelerators alone, of which kinds lists kinds of devices", head.Kind)
	}
	if err != nil {
		return device.Requirement{}, fmt.Errorf("%s: %w", file, usage.Line(err))
	}
	r := claim.Of(*a)
	if err := claim.Validate(r); err != nil {
		return r, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

func (o *options) cordon() *cobra.Command {
	return o.taint("cordon", "Keep new work away from a device", "no new work comes to %s\n", resourcev1.DeviceTaintEffectNoSchedule)
}

func (o *options) drain() *cobra.Command {
	return o.taint("drain", "Keep new work away from a device, and end what runs on it", "no new work comes to %s, and the pods that use it are ended\n", resourcev1.DeviceTaintEffectNoExecute)
}

// taint is the verb that taints one device, by a rule, for whatever driver.
func (o *options) taint(verb, short, said string, effect resourcev1.DeviceTaintEffect) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " NODE/DEVICE", Short: short, Args: exactly("NODE/DEVICE")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		d, err := find(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		rule := ruleOf(d, effect)
		err = c.Create(cmd.Context(), rule)
		if apierrors.IsAlreadyExists(err) {
			old := &resourcev1.DeviceTaintRule{}
			if err := c.Get(cmd.Context(), kube.Key("", rule.Name), old); err != nil {
				return fmt.Errorf("reading the rule of %s: %w", args[0], err)
			}
			before := old.DeepCopy()
			old.Spec.Taint.Effect = effect
			err = c.Patch(cmd.Context(), old, kube.Changes(before))
		}
		if err != nil {
			return fmt.Errorf("tainting %s: %w", args[0], err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), said, args[0])
		return nil
	}
	return o.flags(cmd)
}

func (o *options) uncordon() *cobra.Command {
	cmd := &cobra.Command{Use: "uncordon NODE/DEVICE", Short: "Let new work come to a device again", Args: exactly("NODE/DEVICE")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		d, err := find(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		err = c.Delete(cmd.Context(), ruleOf(d, ""))
		if apierrors.IsNotFound(err) {
			fmt.Fprintf(cmd.OutOrStdout(), "%s was not cordoned\n", args[0])
			return nil
		}
		if err != nil {
			return fmt.Errorf("removing the rule of %s: %w", args[0], err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "new work may come to %s\n", args[0])
		return nil
	}
	return o.flags(cmd)
}

// ruleOf is the rule by which a device is cordoned. Its name is made of the device,
// so that there is one.
func ruleOf(d *offered, effect resourcev1.DeviceTaintEffect) *resourcev1.DeviceTaintRule {
	sum := sha256.Sum256([]byte(strings.Join([]string{d.Driver, d.Pool, d.Device.Name}, "\x00")))
	driver, pool, name := d.Driver, d.Pool, d.Device.Name
	return &resourcev1.DeviceTaintRule{
		ObjectMeta: metav1.ObjectMeta{Name: "polder-cordon-" + hex.EncodeToString(sum[:10])},
		Spec: resourcev1.DeviceTaintRuleSpec{
			DeviceSelector: &resourcev1.DeviceTaintSelector{Driver: &driver, Pool: &pool, Device: &name},
			Taint:          resourcev1.DeviceTaint{Key: profile.Domain + "/cordon", Effect: effect},
		},
	}
}

// find is the device NODE/DEVICE.
func find(ctx context.Context, c *kube.Client, name string) (*offered, error) {
	node, dev, ok := strings.Cut(name, "/")
	if !ok || node == "" || dev == "" {
		return nil, usage.Errorf("%q is not NODE/DEVICE; `polder devices -o wide` lists them", name)
	}
	all, err := offers(ctx, c)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(o offered) bool { return o.Node == node && o.Device.Name == dev })
	if i < 0 {
		return nil, usage.Errorf("there is no device %s on node %s; `polder devices -o wide` lists them", dev, node)
	}
	return &all[i], nil
}
