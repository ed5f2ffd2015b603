// Package smi is about vendors' programs whose text is an outline with a part for each
// card, as package outline reads it. The rooms of such vendors below device import it,
// and each says only what is its own: what things are called in the text, what of them
// is a fault, and which file is a card's.
//
// The rules are the same for all. A card is known by its PCI address, never by its place
// in the text. What the program does not tell, stays as the bus had it. That it tells
// nothing is a problem, but not of a copy of a machine, where it cannot be run. The
// health of a card that it tells of no more is unknown. A device file is handed out only
// if it is the card's for certain.
package smi

import (
	"context"
	"errors"
	"fmt"

	"polder.dev/polder/device"
	"polder.dev/polder/device/chardev"
	"polder.dev/polder/device/outline"
	"polder.dev/polder/device/pci"
)

// Program is a vendor's program, as its room knows it.
type Program struct {
	// Name of the program, which prints all when it is run with -q.
	Name string
	// Run runs it in another way; nil: by its name.
	Run func(ctx context.Context, h *device.Host) ([]byte, error)

	// Family is that of its cards, and Product what one is called that it has no name
	// for.
	Family  *pci.Family
	Product string

	// Heading is how the line begins that a card's part is below: "XPU ".
	Heading string
	// Card reads from that line which card it is; false if it cannot be told.
	Card func(l *outline.Line) (Card, bool)
	// Lacks is what a text that has no such line lacks.
	Lacks string

	// Texts are the keys, in a card's part, of fields of a device that are named as in
	// JSON; Head are keys on top of the text, of what holds for all cards.
	Texts map[string][]string
	Head  map[string]string
	// Memory are the keys of the size of a card's memory; the first that is there
	// counts.
	Memory [][]string
	// Meters reads health and meters from a card's part.
	Meters func(l *outline.Line) (device.Health, *device.Reading)

	// Costs is what is not known if the program tells nothing, and Remedy what to do.
	Costs, Remedy string

	// Files is what the names of the cards' device files begin with, before a number,
	// and Control are the files that all cards need.
	Files   string
	Control []string
	// File finds a card's file where its number is not the minor number of it.
	File func(files []chardev.File, cards Cards, address string) (chardev.File, bool)
}

// Card is which card a part of the text is about.
type Card struct {
	// Function has the address, and what else of the bus the program tells.
	Function device.Function
	// Number that the program gives the card, for its file to be known by. Nil: it
	// gives none, or one that another card has too.
	Number *int64

	head, part *outline.Line
}

// Cards by their PCI address.
type Cards map[string]*Card

// Discover adds to devices, which the bus showed, what the program tells, and their
// files.
func (p *Program) Discover(ctx context.Context, h *device.Host, devices []device.Device) ([]device.Device, error) {
	if len(devices) == 0 {
		return nil, nil // nor is a program run that may be another vendor's
	}
	cards, err := p.ask(ctx, h)
	var errs []error
	if err != nil && h.Run != nil {
		errs = append(errs, p.silent(err, p.Costs+" are not known; "+p.Remedy))
	}
	for i := range devices {
		if c := cards[devices[i].PCI.Address]; c != nil {
			p.fill(&devices[i], c)
		}
	}
	return devices, errors.Join(append(errs, p.open(h, devices, cards))...)
}

// Measure is device.Meter's.
func (p *Program) Measure(ctx context.Context, h *device.Host, devices []device.Device) error {
	if len(devices) == 0 {
		return nil
	}
	cards, err := p.ask(ctx, h)
	var errs []error
	for i := range devices {
		d := &devices[i]
		d.Health, d.Reading = device.Health{State: device.Unknown}, nil
		if d.PCI != nil && cards[d.PCI.Address] != nil {
			d.Health, d.Reading = p.Meters(cards[d.PCI.Address].part)
		} else if err == nil {
			errs = append(errs, device.Problem{Where: d.Name, What: p.Name + " does not tell of it any more; look at the kernel's log"})
		}
	}
	if err != nil {
		errs = append(errs, p.silent(err, "health and meters are not known"))
	}
	return errors.Join(errs...)
}

// Read is device.Reader's.
func (p *Program) Read(output []byte) ([]device.Device, error) {
	cards, err := p.parse(output)
	var devices []device.Device
	for _, c := range cards {
		d := device.Device{Kind: p.Family.Kind, Vendor: p.Family.Vendor, Software: p.Family.Software, Product: p.Product, Form: device.Whole, PCI: &c.Function}
		p.fill(&d, c)
		devices = append(devices, d)
	}
	return devices, err
}

func (p *Program) silent(err error, cost string) error {
	return device.Problem{Where: p.Name, What: fmt.Sprintf("tells nothing (%v), so %s", err, cost)}
}
