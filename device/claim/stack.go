package claim

import (
	"slices"
	"sync"

	"polder.dev/polder/device/catalogue"
)

// Stacks lists the software stacks that devices are programmed with: those of the
// catalogue's products and of the drivers, and the processors' own.
func Stacks() []string { return stacks() }

var stacks = sync.OnceValue(func() []string {
	out := []string{"cpu"}
	for _, p := range catalogue.All() {
		if p.Software != "" {
			out = append(out, p.Software)
		}
	}
	for _, d := range Drivers() {
		if d.Software != "" {
			out = append(out, d.Software)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
})

// Known reports whether software is a stack.
func Known(software string) bool { return slices.Contains(Stacks(), software) }
