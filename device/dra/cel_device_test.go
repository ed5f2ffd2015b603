package dra

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"polder.dev/polder/device"
	"polder.dev/polder/device/catalogue"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/device/profile"
)

// product is a device of the catalogue as an adapter would find it.
func product(p *catalogue.Product) device.Device {
	d := device.Device{Name: string(p.Kind) + "-0", Kind: p.Kind, Vendor: p.Vendor, Product: p.Name, UUID: p.Name, Form: device.Whole, Health: device.Of()}
	if p.Fabric != "" {
		d.Fabric = &device.Fabric{Type: p.Fabric, Domain: "d"}
	}
	catalogue.Fill(&d)
	return d
}

// ours is what our driver publishes of a product of the catalogue.
func ours(vendor, name string) claim.Offer {
	p, ok := catalogue.ByName(vendor, name)
	if !ok {
		panic("the catalogue has no " + name)
	}
	d := product(p)
	pub := profile.Publish(&d)
	return claim.Offer{Driver: profile.Domain, Pool: "n", Node: "n", Device: &pub}
}

// published are devices that our driver publishes: the first and the last product of
// every vendor and kind, with the parts of those that can be split, and devices of
// which little is known.
func published(t *testing.T) []claim.Offer {
	t.Helper()
	zero := 0
	devices := []device.Device{
		{Name: "cpu-0", Kind: device.CPU, Vendor: "amd", Product: "EPYC 9755", UUID: "c", Form: device.Whole, Software: "cpu", Features: []string{"avx512_bf16"}, Memory: 64 << 30, NUMA: &zero},
		{Name: "gpu-0", Kind: device.GPU, Vendor: "nvidia", Product: "device 10de:ffff", UUID: "u", Form: device.Whole},
		{Name: "gpu-1", Kind: device.GPU, Vendor: "amd", Product: "a virtual function", UUID: "v", Form: device.VF, Software: "rocm", Memory: 8 << 30},
		{Name: "gpu-2", Kind: device.GPU, Vendor: "nvidia", Product: "H100 SXM5 80GB", UUID: "e", Form: device.Whole, Software: "cuda", Memory: 80e9, Emulated: true,
			FLOPS: map[device.Precision]int64{device.FP8: 1979e12}, Health: device.Of(device.Fault{Code: "xid-79", State: device.Failed})},
	}
	type line struct {
		vendor string
		kind   device.Kind
	}
	of := map[line][]device.Device{}
	all := catalogue.All()
	for i := range all {
		l := line{all[i].Vendor, all[i].Kind}
		of[l] = append(of[l], product(&all[i]))
	}
	for _, list := range of {
		devices = append(devices, list[0], list[len(list)-1])
	}
	if len(of) < 10 {
		t.Errorf("the catalogue has %d vendors' kinds", len(of))
	}
	var out []claim.Offer
	for _, s := range profile.Pool(devices, true) {
		for i := range s.Devices {
			out = append(out, claim.Offer{Driver: profile.Domain, Pool: "n", Node: "n", Device: &s.Devices[i]})
		}
	}
	return out
}

// ver is a version and amount a capacity, for says.
type (
	ver    string
	amount string
	lists  []string
)

// says is a device of a driver that says these names and values in turn.
func says(driver string, pairs ...any) claim.Offer {
	d := &resourcev1.Device{Name: "x", Attributes: map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{}, Capacity: map[resourcev1.QualifiedName]resourcev1.DeviceCapacity{}}
	for i := 0; i < len(pairs); i += 2 {
		n := resourcev1.QualifiedName(pairs[i].(string))
		if q, ok := pairs[i+1].(amount); ok {
			d.Capacity[n] = resourcev1.DeviceCapacity{Value: resource.MustParse(string(q))}
			continue
		}
		d.Attributes[n] = value(pairs[i+1])
	}
	return claim.Offer{Driver: driver, Pool: "n", Node: "n", Device: d}
}

func value(v any) resourcev1.DeviceAttribute {
	switch v := v.(type) {
	case string:
		return resourcev1.DeviceAttribute{StringValue: &v}
	case ver:
		return resourcev1.DeviceAttribute{VersionValue: new(string(v))}
	case bool:
		return resourcev1.DeviceAttribute{BoolValue: &v}
	case int:
		return resourcev1.DeviceAttribute{IntValue: new(int64(v))}
	case lists:
		return resourcev1.DeviceAttribute{StringValues: v}
	}
	panic(fmt.Sprintf("an attribute of type %T", v))
}

// right lists, for a driver of the table, the attributes that it is asked for, with
// the values that are asked for.
func right(d *claim.Driver) map[string][]any {
	out := map[string][]any{}
	conditions := slices.Concat(d.Usable, d.Whole, d.Part)
	for _, c := range d.Precision {
		conditions = append(conditions, c...)
	}
	for _, c := range conditions {
		for _, v := range c.In {
			out[c.Attribute] = append(out[c.Attribute], v)
		}
		if c.True {
			out[c.Attribute] = append(out[c.Attribute], true)
		}
		if c.Version != "" {
			out[c.Attribute] = append(out[c.Attribute], ver(c.Version))
		}
	}
	if d.Product != "" {
		all := catalogue.All()
		for i := range all {
			if p := &all[i]; p.Vendor == d.Vendor {
				out[d.Product] = append(out[d.Product], p.Name)
			}
		}
		for _, v := range slices.Sorted(maps.Keys(d.Products)) {
			out[d.Product] = append(out[d.Product], v)
		}
	}
	for _, n := range []string{d.KindIn, d.StackIn, d.Precisions, d.Fabric, d.Standard} {
		if n == "" {
			continue
		}
		out[n] = map[string][]any{
			d.KindIn: {"gpu", "npu", "cpu"}, d.StackIn: {"cuda", "cann", "cpu"}, d.Precisions: {"fp16 bf16 fp8", "bf16", "fp64 fp32"}, d.Fabric: {"d"}, d.Standard: {ver("1.0.0")},
		}[n]
	}
	return out
}

// strange are values that nobody asks for, of all types.
func strange(withLists bool) []any {
	out := []any{"", "something else", "gpu bf16", ver("0.0.0"), ver("99.0.0-rc.1"), true, false, 0, -1, 1 << 40}
	if withLists {
		out = append(out, lists{"gpu"}, lists{})
	}
	return out
}

// foreign are devices of all drivers of the table: right in all that is asked of
// them, for each value that is asked for; and with each attribute missing or
// strange; under names with and without their domain.
func foreign(withLists bool) []claim.Offer {
	var out []claim.Offer
	for _, d := range claim.Drivers() {
		attributes := right(&d)
		full := func(prefix string) []any {
			var pairs []any
			for _, n := range slices.Sorted(maps.Keys(attributes)) {
				pairs = append(pairs, prefix+n, attributes[n][len(attributes[n])-1])
			}
			if d.Memory != "" {
				pairs = append(pairs, prefix+d.Memory, amount("80Gi"))
			}
			return pairs
		}
		for _, prefix := range []string{"", d.Name + "/"} {
			whole := full(prefix)
			out = append(out, says(d.Name, whole...), says("gpu.example.com", whole...), says(d.Name))
			for i := 0; i < len(whole); i += 2 {
				out = append(out, says(d.Name, slices.Delete(slices.Clone(whole), i, i+2)...))
				instead := []any{amount("1"), amount("64Gi"), amount("0")}
				if _, ok := whole[i+1].(amount); !ok {
					good := attributes[strings.TrimPrefix(whole[i].(string), prefix)]
					instead = slices.Concat(good[max(0, len(good)-6):], strange(withLists))
				}
				for _, v := range instead {
					other := slices.Clone(whole)
					other[i+1] = v
					out = append(out, says(d.Name, other...))
				}
			}
		}
	}
	return out
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// garbled is a device of a driver of the table, whose attributes are right, strange,
// missing, or of another driver, at random.
func garbled(r *rand.Rand) claim.Offer {
	all := claim.Drivers()
	d := pick(r, all)
	names := right(&d)
	if d.Standard == "" && r.IntN(4) == 0 {
		for n, v := range right(&all[0]) {
			names[all[0].Name+"/"+n] = v
		}
	}
	var pairs []any
	for _, n := range slices.Sorted(maps.Keys(names)) {
		v := pick(r, names[n])
		switch r.IntN(8) {
		case 0:
			continue
		case 1:
			v = pick(r, strange(true))
		}
		if r.IntN(2) == 0 && !strings.Contains(n, "/") {
			n = d.Name + "/" + n
		}
		pairs = append(pairs, n, v)
	}
	if d.Memory != "" && r.IntN(8) > 0 {
		pairs = append(pairs, pick(r, []string{"", d.Name + "/"})+d.Memory, pick(r, []amount{"0", "1Gi", "24G", "64Gi", "1T"}))
	}
	driver := d.Name
	if d.Standard == "" && r.IntN(8) == 0 {
		driver = pick(r, all).Name
	}
	return says(driver, pairs...)
}

// asked is a requirement at random.
func asked(r *rand.Rand) device.Requirement {
	some := func(n int) int { return r.IntN(n + 1) }
	out := device.Requirement{Count: 1 + some(2), SameFabric: some(2) == 0, Share: some(1) == 0}
	for range some(3) {
		out.Kinds = append(out.Kinds, pick(r, device.Kinds()))
	}
	for range some(3) {
		out.Software = append(out.Software, pick(r, claim.Stacks()))
	}
	if some(1) == 0 {
		out.Memory = 1 + r.Int64N(256<<30)
	}
	if some(3) == 0 {
		out.Sandbox = pick(r, []string{"gvisor", "kata", "runc"})
	}
	if some(1) == 0 {
		out.Precision = pick(r, device.Precisions())
	}
	return out
}
