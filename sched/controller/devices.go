package controller

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device/claim"
	"polder.dev/polder/sched/queue"
)

// Judge says of a device whether the selectors of a request accept it, as the scheduler
// would.
type Judge interface {
	Accepts(*claim.Offer, []resourcev1.DeviceSelector) (bool, error)
}

// devices is one request for devices, of one pod or, if once is set, of all pods that
// share a claim. Any of its ways will do.
type devices struct {
	once bool
	ways []way
}

type way struct {
	class     string
	selectors []resourcev1.DeviceSelector
	count     int64
}

// devices are what a pod asks for by its claims and by extended resources of device
// classes.
func (w *world) devices(namespace string, spec *corev1.PodSpec) ([]devices, error) {
	var out []devices
	for _, c := range spec.ResourceClaims {
		var requests []resourcev1.DeviceRequest
		once := c.ResourceClaimName != nil
		switch {
		case once:
			found := w.claim[namespace+"/"+*c.ResourceClaimName]
			if found == nil {
				return nil, fmt.Errorf("resource claim %s is not there: create it", *c.ResourceClaimName)
			}
			requests = found.Spec.Devices.Requests
		case c.ResourceClaimTemplateName != nil:
			found := w.templates[namespace+"/"+*c.ResourceClaimTemplateName]
			if found == nil {
				return nil, fmt.Errorf("resource claim template %s is not there: create it", *c.ResourceClaimTemplateName)
			}
			requests = found.Spec.Spec.Devices.Requests
		}
		for i := range requests {
			d, err := request(&requests[i])
			if err != nil {
				return nil, err
			}
			if len(d.ways) > 0 {
				d.once = once
				out = append(out, d)
			}
		}
	}
	for i := range spec.Containers {
		for name, q := range spec.Containers[i].Resources.Requests {
			if class := w.extended[name]; class != "" && q.Value() > 0 {
				out = append(out, devices{ways: []way{{class: class, count: q.Value()}}})
			}
		}
	}
	return out, nil
}

// request takes one request of a claim apart.
func request(r *resourcev1.DeviceRequest) (devices, error) {
	var d devices
	add := func(class string, selectors []resourcev1.DeviceSelector, mode resourcev1.DeviceAllocationMode, count int64) error {
		if mode == resourcev1.DeviceAllocationModeAll {
			return errAll
		}
		d.ways = append(d.ways, way{class, selectors, max(1, count)})
		return nil
	}
	if e := r.Exactly; e != nil {
		if e.AdminAccess != nil && *e.AdminAccess {
			return d, nil // it has what others have
		}
		return d, add(e.DeviceClassName, e.Selectors, e.AllocationMode, e.Count)
	}
	for i := range r.FirstAvailable {
		s := &r.FirstAvailable[i]
		if err := add(s.DeviceClassName, s.Selectors, s.AllocationMode, s.Count); err != nil {
			return d, err
		}
	}
	return d, nil
}

// extendedResources are the device classes by the resource that stands for them.
func extendedResources(classes []resourcev1.DeviceClass) map[corev1.ResourceName]string {
	out := map[corev1.ResourceName]string{}
	for i := range classes {
		c := &classes[i]
		out[corev1.ResourceName(resourcev1.ResourceDeviceClassPrefix+c.Name)] = c.Name
		if n := c.Spec.ExtendedResourceName; n != nil {
			name := corev1.ResourceName(*n)
			out[name] = cmp.Or(out[name], c.Name)
		}
	}
	return out
}

// asking completes what an item asks for: each request takes of a flavour what the
// smallest of its devices takes that will do.
func (d *desk) asking(i *item) error {
	if len(i.asks) == 0 {
		return nil
	}
	work := i.work()
	for n := range i.asks {
		ask := queue.Ask{Count: 1, Takes: map[string]int64{}}
		for _, w := range i.asks[n].ways {
			class := d.classes[w.class]
			if class == nil {
				return fmt.Errorf("there is no device class %q: create it, or name another in the resource claim", w.class)
			}
			for _, f := range d.supply.flavors {
				takes, err := d.takes(f.Name, class, w.selectors)
				if err != nil {
					return err
				}
				if before, ok := ask.Takes[f.Name]; takes > 0 && (!ok || takes*w.count < before) {
					ask.Takes[f.Name] = takes * w.count
				}
			}
		}
		if len(ask.Takes) == 0 {
			return errors.New("its resource claims ask for devices that this cloud does not have: ask for others, or add such a node")
		}
		work.PodSets[n+1].Ask = ask
	}
	i.work = func() queue.Workload { return work }
	return nil
}

// takes is what the smallest device of a flavour takes that a class and selectors
// accept; 0 if they accept none.
func (d *desk) takes(flavor string, class *resourcev1.DeviceClass, selectors []resourcev1.DeviceSelector) (int64, error) {
	all := append(class.Spec.Selectors[:len(class.Spec.Selectors):len(class.Spec.Selectors)], selectors...)
	key := flavor
	for _, s := range all {
		if s.CEL != nil {
			key += "\n" + s.CEL.Expression
		}
	}
	if n, ok := d.judged[key]; ok {
		return n, nil
	}
	least := int64(0)
	var last error
	for _, s := range d.supply.samples[flavor] {
		ok, err := d.judge.Accepts(s.offer, all)
		if err != nil {
			last = err
		}
		if ok && (least == 0 || s.takes < least) {
			least = s.takes
		}
	}
	if least == 0 && last != nil && strings.Contains(last.Error(), "compil") {
		return 0, fmt.Errorf("a selector of its resource claims cannot be used: %w", last)
	}
	d.judged[key] = least
	return least, nil
}
