package claim

import (
	"fmt"
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device"
)

// Request is the name of a compiled claim's one request; containers name it.
const Request = "accelerators"

// Class is the DeviceClass that compiled claims name. It selects nothing: what is
// asked is in the claim.
const Class = "accelerator.polder.dev"

// Compile writes the requirement as a claim. With more than one software stack the
// claim has an alternative for each, in their order, named for it: of those the
// scheduler takes the first that fits. The error says which field asks for what
// cannot be.
func Compile(r device.Requirement) (resourcev1.DeviceClaim, error) {
	if err := Validate(r); err != nil {
		return resourcev1.DeviceClaim{}, err
	}
	var alternatives []alternative
	if len(r.Software) < 2 && !r.SameFabric {
		one, err := over(r, "", Drivers())
		if err != nil {
			return resourcev1.DeviceClaim{}, err
		}
		return resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{{
			Name: Request, Exactly: &resourcev1.ExactDeviceRequest{
				DeviceClassName: Class, Selectors: one.selectors, AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: int64(r.Count),
			},
		}}}, nil
	}
	alternatives, err := list(r)
	if err != nil {
		return resourcev1.DeviceClaim{}, err
	}
	return several(r, alternatives), nil
}

// alternative is one way to fulfil a requirement.
type alternative struct {
	name      string
	selectors []resourcev1.DeviceSelector
	fabric    string // fully qualified attribute to be equal, or ""
}

// list is one alternative per stack; where devices must share a fabric, one per
// stack and driver, since each driver has its own word for it.
func list(r device.Requirement) ([]alternative, error) {
	stacks := r.Software
	if len(stacks) == 0 {
		stacks = []string{""}
	}
	var out []alternative
	var last error
	for _, s := range stacks {
		one := r
		if s != "" {
			one.Software = []string{s}
		}
		groups := [][]Driver{Drivers()}
		if r.SameFabric && r.Count > 1 {
			groups = groups[:0]
			for _, d := range Drivers() {
				if d.Fabric != "" {
					groups = append(groups, []Driver{d})
				}
			}
		}
		for _, g := range groups {
			a, err := over(one, s, g)
			if err != nil {
				last = err
				continue
			}
			if r.SameFabric && r.Count > 1 {
				d, n := split(g[0].Name, g[0].Fabric)
				a.fabric = d + "/" + n
			}
			a.name = nameOf(s, len(out))
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, last
	}
	return out[:min(len(out), resourcev1.FirstAvailableDeviceRequestMaxSize)], nil
}

func nameOf(stack string, n int) string {
	if stack == "" {
		stack = "any"
	}
	return fmt.Sprintf("%s-%d", stack, n)
}

// over is the alternative of one stack over some drivers.
func over(r device.Requirement, name string, drivers []Driver) (alternative, error) {
	standard, others := []byte(nil), make([]byte, 0, resourcev1.CELSelectorExpressionMaxLength)
	for i := range drivers {
		if d := &drivers[i]; d.Standard != "" {
			standard, _ = d.term(standard, &r)
		} else if with, ok := d.term(others, &r); ok {
			others = append(with, " ||\n"...)
		}
	}
	if len(standard)+len(others) == 0 {
		return alternative{}, fmt.Errorf("accelerators: no driver that is known has devices of this kind, software, precision and memory together: ask for less")
	}
	expression := either(string(standard), strings.TrimSuffix(string(others), " ||\n"))
	if len(expression) > resourcev1.CELSelectorExpressionMaxLength {
		return alternative{}, fmt.Errorf("accelerators: the rule that selects devices would have %d characters of at most %d: name kinds or software to make it shorter",
			len(expression), resourcev1.CELSelectorExpressionMaxLength)
	}
	return alternative{name: name, selectors: []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: expression}}}}, nil
}

// either judges a device by the standard if it is published by it, else by the words
// of its driver; driverOf chooses alike.
func either(standard, others string) string {
	m := &Drivers()[0]
	by := fmt.Sprintf("device.attributes[%s].?%s.hasValue()", quote(m.Name), m.Standard)
	switch {
	case standard == "":
		return "!" + by + " && (\n" + others + ")"
	case others == "":
		return by + " && " + standard
	}
	return by + " ?\n" + standard + " :\n(" + others + ")"
}

// term writes the CEL for the devices of one driver behind b; ok is false, and
// nothing is written, if none can fit.
func (m *Driver) term(b []byte, r *device.Requirement) (with []byte, ok bool) {
	checks := m.checks(r)
	if slices.ContainsFunc(checks, func(c check) bool { return c.never != "" }) {
		return b, false
	}
	with, and := append(b, '('), ""
	if m.Standard == "" {
		with, and = append(append(with, "device.driver == "...), quote(m.Name)...), " && "
	}
	for i := range checks {
		for j := range checks[i].all {
			with = checks[i].all[j].cel(append(with, and...), m.Name)
			and = " && "
		}
	}
	return append(with, ')'), true
}

func several(r device.Requirement, alternatives []alternative) resourcev1.DeviceClaim {
	request := resourcev1.DeviceRequest{Name: Request}
	var constraints []resourcev1.DeviceConstraint
	for _, a := range alternatives {
		request.FirstAvailable = append(request.FirstAvailable, resourcev1.DeviceSubRequest{
			Name: a.name, DeviceClassName: Class, Selectors: a.selectors,
			AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: int64(r.Count),
		})
		if a.fabric != "" {
			same := resourcev1.FullyQualifiedName(a.fabric)
			constraints = append(constraints, resourcev1.DeviceConstraint{Requests: []string{Request + "/" + a.name}, MatchAttribute: &same})
		}
	}
	return resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{request}, Constraints: constraints}
}

// CountMax is the most devices of one claim.
const CountMax = resourcev1.AllocationResultsMaxSize

// Validate says which field of a requirement, in the words of the API, asks for
// what cannot be.
func Validate(r device.Requirement) error {
	if r.Count < 1 || r.Count > CountMax {
		return fmt.Errorf("accelerators.count: %d is not between 1 and %d, the most that one worker can be given: use more workers", r.Count, CountMax)
	}
	for i, k := range r.Kinds {
		if !slices.Contains(device.Kinds(), k) {
			return fmt.Errorf("accelerators.kinds[%d]: %q is no kind; known are %s", i, k, join(device.Kinds()))
		}
	}
	if r.Precision != "" && !slices.Contains(device.Precisions(), r.Precision) {
		return fmt.Errorf("accelerators.precision: %q is not known; known are %s", r.Precision, join(device.Precisions()))
	}
	if r.Memory < 0 {
		return fmt.Errorf("accelerators.memory: %d is less than nothing", r.Memory)
	}
	if n := len(r.Software); n > resourcev1.FirstAvailableDeviceRequestMaxSize {
		return fmt.Errorf("accelerators.software: %d stacks are more than the %d alternatives that a claim may have: name fewer", n, resourcev1.FirstAvailableDeviceRequestMaxSize)
	}
	for i, s := range r.Software {
		if !Known(s) {
			return fmt.Errorf("accelerators.software[%d]: %q is no software stack; known are %s", i, s, strings.Join(Stacks(), ", "))
		}
	}
	return nil
}

func join[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, w := range list {
		words[i] = string(w)
	}
	return strings.Join(words, ", ")
}
