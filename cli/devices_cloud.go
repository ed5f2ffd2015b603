package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/device/profile"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
)

// offered is a device of the cloud and who has it.
type offered struct {
	Node   string `json:"node"`
	Driver string `json:"driver"`
	Pool   string `json:"pool"`
	// Device is as far as the standard tells it.
	Device device.Device `json:"device"`
	// Claim that has the device to itself, NAMESPACE/NAME, and the pods that use it.
	Claim string   `json:"claim,omitempty"`
	Pods  []string `json:"pods,omitempty"`
	// Shared is set for a device that many may have.
	Shared bool `json:"shared,omitempty"`
	// Taints keep work away.
	Taints []resourcev1.DeviceTaint `json:"taints,omitempty"`

	offer     claim.Offer
	available bool
}

// free reports whether a job could be given the device now.
func (o *offered) free() bool {
	return o.available && !slices.ContainsFunc(o.Taints, claim.KeepsAway)
}

func (o *options) cloudDevices(cmd *cobra.Command) error {
	c, err := o.open(cmd)
	if err != nil {
		return err
	}
	all, err := offers(cmd.Context(), c)
	if err != nil {
		return err
	}
	switch {
	case o.json():
		return printJSON(cmd.OutOrStdout(), all)
	case len(all) == 0:
		fmt.Fprintln(cmd.OutOrStdout(), "No driver of this cloud publishes a device.")
		return nil
	case o.output == "wide":
		return showEach(cmd.OutOrStdout(), all)
	}
	return showProducts(cmd.OutOrStdout(), all)
}

// offers reads what drivers publish, and what of it is taken.
func offers(ctx context.Context, c *kube.Client) ([]offered, error) {
	var published resourcev1.ResourceSliceList
	if err := c.List(ctx, &published); err != nil {
		return nil, fmt.Errorf("listing resource slices: %w", err)
	}
	var rules resourcev1.DeviceTaintRuleList
	if err := c.List(ctx, &rules); err != nil {
		return nil, fmt.Errorf("listing device taint rules: %w", err)
	}
	var claims resourcev1.ResourceClaimList
	if err := c.List(ctx, &claims); err != nil {
		return nil, fmt.Errorf("listing resource claims: %w", err)
	}
	taken := claim.Taken(claims.Items)
	out := []offered{}
	all := claim.Offers(published.Items, rules.Items)
	available := claim.Available(all, taken)
	for _, f := range all {
		one := offered{Node: f.Node, Driver: f.Driver, Pool: f.Pool, Device: describe(&f), Taints: f.Taints(), offer: f, available: available[f.ID()]}
		one.Shared = f.Shared()
		if by := taken[f.ID()]; by != nil {
			one.Claim = by.Namespace + "/" + by.Name
			for _, r := range by.Status.ReservedFor {
				if r.Resource == "pods" {
					one.Pods = append(one.Pods, by.Namespace+"/"+r.Name)
				}
			}
		}
		out = append(out, one)
	}
	return out, nil
}

// describe is a device as far as its driver tells it. Of another's driver that is
// what the table of drivers knows how to read. A rule's taint, such as that of
// `polder devices cordon`, is no illness.
func describe(f *claim.Offer) device.Device {
	d := f.Describe()
	if f.Driver == profile.Domain {
		d = profile.Read(f.Device)
	}
	d.Health = profile.Health(f.Device.Taints)
	return d
}

// showProducts writes a line per product: what there is, and what is free.
func showProducts(w io.Writer, all []offered) error {
	type product struct{ vendor, kind, name, memory string }
	type line struct {
		free, total, ill int
		nodes            map[string]bool
		shared           bool
	}
	lines := map[product]*line{}
	for i := range all {
		if all[i].offer.Part() && all[i].Claim == "" {
			continue // it is the whole that is there
		}
		d := &all[i].Device
		name := d.Product
		if d.Emulated {
			name += " (emulated)"
		}
		if d.Profile != "" {
			name += " " + d.Profile
		}
		p := product{d.Vendor, string(d.Kind), name, size(d.Memory)}
		l := lines[p]
		if l == nil {
			l = &line{nodes: map[string]bool{}}
			lines[p] = l
		}
		l.total++
		l.nodes[all[i].Node] = true
		l.shared = l.shared || all[i].Shared
		if all[i].free() {
			l.free++
		}
		if d.Health.State == device.Failed || d.Health.State == device.Degraded {
			l.ill++
		}
	}
	keys := make([]product, 0, len(lines))
	for p := range lines {
		keys = append(keys, p)
	}
	slices.SortFunc(keys, func(a, b product) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.vendor, b.vendor), cmp.Compare(a.name, b.name), cmp.Compare(a.memory, b.memory))
	})
	rows := [][]string{{"PRODUCT", "VENDOR", "KIND", "MEMORY", "FREE/TOTAL", "NODES", "HEALTH"}}
	for _, p := range keys {
		l := lines[p]
		health := "ok"
		if l.ill > 0 {
			health = fmt.Sprintf("%d of %d ill", l.ill, l.total)
		}
		count := fmt.Sprintf("%d/%d", l.free, l.total)
		if l.shared {
			count = fmt.Sprintf("%d, shared", l.total)
		}
		rows = append(rows, []string{p.name, p.vendor, p.kind, p.memory, count, fmt.Sprint(len(l.nodes)), health})
	}
	return term.Table(w, rows)
}

// showEach writes a line per device.
func showEach(w io.Writer, all []offered) error {
	rows := [][]string{{"NODE", "DEVICE", "PRODUCT", "MEMORY", "SOFTWARE", "DRIVER", "FABRIC", "USED BY", "HEALTH", "TAINTS"}}
	for i := range all {
		d := &all[i].Device
		fabric := "-"
		if d.Fabric != nil {
			fabric = d.Fabric.Type
		}
		by := all[i].Claim
		if len(all[i].Pods) > 0 {
			by = strings.Join(all[i].Pods, ",")
		}
		if all[i].Shared {
			by = "shared"
		}
		var taints []string
		for _, t := range all[i].Taints {
			taints = append(taints, fmt.Sprintf("%s:%s", strings.TrimPrefix(t.Key, profile.Domain+"/"), t.Effect))
		}
		rows = append(rows, []string{all[i].Node, d.Name, d.Product, size(d.Memory), dash(d.Software), all[i].Driver, fabric, dash(by), healthOf(d), dash(strings.Join(taints, ","))})
	}
	return term.Table(w, rows)
}
