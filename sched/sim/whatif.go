package sim

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"polder.dev/polder/sched"
)

// Grammar is how additions are written.
const Grammar = "add=COUNTxMODEL[/PER_NODE]"

var addition = regexp.MustCompile(`^add=([0-9]{1,7})x([^/\s]{1,63})(?:/([0-9]{1,4}))?$`)

// addedMax is the most devices that can be added at once.
const addedMax = 1_000_000

// WhatIf is the plan with machines added: COUNT devices of a model, in nodes of
// PER_NODE. Where the cluster has nodes with that model, a new one is like the most
// common of them, in size if none is given and otherwise in CPU and memory per device;
// else it has 8 devices, and for each what the cluster's nodes have for one on
// average. What pods ask for together stays.
func (p Plan) WhatIf(change string) (Plan, error) {
	m := addition.FindStringSubmatch(change)
	if m == nil {
		return p, fmt.Errorf("%q is not understood; write %s, such as add=8xH100 or add=16xT4/2", change, Grammar)
	}
	count, _ := strconv.Atoi(m[1]) // digits, by the pattern
	per, _ := strconv.Atoi(m[3])
	like := p.like(m[2], per)
	per = len(like.Devices)
	switch {
	case m[3] == "0" || per > sched.CountMax:
		return p, fmt.Errorf("%q: a node has 1 to %d devices", change, sched.CountMax)
	case count < 1 || count > addedMax:
		return p, fmt.Errorf("%q: COUNT is of devices, 1 to %d", change, addedMax)
	case count%per != 0:
		return p, fmt.Errorf("%q: %d devices do not fill nodes of %d; write another count, or add=%dx%s/PER_NODE", change, count, per, count, m[2])
	}
	p.Base = cmp.Or(p.Base, capacity(p.Nodes))
	p.Nodes = slices.Clone(p.Nodes)
	before := len(p.Nodes)
	for i := range count / per {
		n := like
		n.Name = fmt.Sprintf("added-%d-%d", before, i)
		n.Devices = slices.Clone(like.Devices)
		p.Nodes = append(p.Nodes, n)
	}
	return p, nil
}

// like makes a node of per devices of the model; 0 leaves the number to the cluster.
func (p *Plan) like(model string, per int) sched.Node {
	count := map[string]int{}
	best, most := -1, 0
	cpu, memory, devices := int64(0), int64(0), int64(0)
	for i := range p.Nodes {
		n := &p.Nodes[i]
		cpu, memory, devices = cpu+n.Size.CPU, memory+n.Size.Memory, devices+int64(len(n.Devices))
		if len(n.Devices) == 0 || n.Devices[0].Model != model {
			continue
		}
		key := fmt.Sprint(n.Size, len(n.Devices))
		if count[key]++; count[key] > most {
			best, most = i, count[key]
		}
	}
	if best >= 0 {
		n := &p.Nodes[best]
		cpu, memory, devices = n.Size.CPU, n.Size.Memory, int64(len(n.Devices))
		per = cmp.Or(per, len(n.Devices))
	}
	per = cmp.Or(per, 8)
	var n sched.Node
	devices = max(devices, 1)
	n.Size = sched.Amount{CPU: cpu * int64(per) / devices, Memory: memory / devices * int64(per), Pods: p.Nodes[0].Size.Pods}
	n.Free = n.Size
	for range per {
		n.Devices = append(n.Devices, sched.Device{Model: model, Free: sched.Whole})
	}
	return n
}
