package smi

import (
	"errors"
	"fmt"

	"polder.dev/polder/device"
	"polder.dev/polder/device/chardev"
)

// open gives each device its file and the control files, or none.
func (p *Program) open(h *device.Host, devices []device.Device, cards Cards) error {
	files := chardev.Read(h, p.Files)
	var errs []error
	for i := range devices {
		d := &devices[i]
		nodes, err := p.nodes(h, files, cards, d.PCI.Address)
		if err != nil {
			errs = append(errs, device.Problem{Where: d.PCI.Address, What: err.Error()})
			continue
		}
		d.Nodes = nodes
	}
	return errors.Join(errs...)
}

func (p *Program) nodes(h *device.Host, files []chardev.File, cards Cards, address string) ([]device.Node, error) {
	f, err := p.find(files, cards, address)
	if err != nil {
		return nil, err
	}
	n, err := f.Node(h, false)
	if err != nil {
		return nil, fmt.Errorf("its device file cannot be used: %w", err)
	}
	nodes := []device.Node{n}
	for _, control := range p.Control {
		n, err := h.Node(control, true)
		if err != nil {
			return nil, fmt.Errorf("cannot be used without the driver's control file: %w", err)
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// find finds the file of a card: by the room's rule, or it is the one of the minor
// number that the program tells, and the one below the card's function. If both are
// known, they must agree.
func (p *Program) find(files []chardev.File, cards Cards, address string) (chardev.File, error) {
	f, ok := chardev.Of(files, address)
	if c := cards[address]; p.File != nil {
		if !ok {
			f, ok = p.File(files, cards, address)
		}
	} else if c != nil && c.Number != nil {
		byMinor, found := chardev.Minor(files, *c.Number)
		if ok && (!found || byMinor.Path != f.Path) {
			return f, fmt.Errorf("is %s by the kernel and has the minor number %d by %s; it is left unused", f.Path, *c.Number, p.Name)
		}
		f, ok = byMinor, found
	}
	if !ok {
		return f, fmt.Errorf("which of /dev/%[1]s0, /dev/%[1]s1 ... is its file is not known, so it cannot be used; load the driver, and install %[2]s", p.Files, p.Name)
	}
	return f, nil
}
