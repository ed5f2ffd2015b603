package huawei

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"polder.dev/polder/device"
	"polder.dev/polder/device/chardev"
)

// numbers are the N of the files /dev/davinciN, in order.
func numbers(h *device.Host) []int {
	var out []int
	for _, name := range h.Dir("dev") {
		if n, ok := strings.CutPrefix(name, "davinci"); ok && id(n) >= 0 && len(out) < chipsMax {
			out = append(out, id(n))
		}
	}
	slices.Sort(out)
	return out
}

// opener knows the device files of a machine.
type opener struct {
	h *device.Host
	// own are the files of chips that the kernel lists, where it does.
	own []chardev.File
	// shared are those that programs open beside them.
	shared []device.Node
}

func newOpener(h *device.Host) (*opener, error) {
	o := &opener{h: h, own: chardev.Read(h, "davinci")}
	var err error
	o.shared, err = common(h)
	return o, err
}

// common are the files that programs open beside those of the chips: for the
// manager, shared memory and messages, always; for the video unit and for the bus of
// the 950, where there are any.
func common(h *device.Host) ([]device.Node, error) {
	files := []string{"davinci_manager", "devmm_svm", "hisi_hdc"}
	for _, f := range []string{"dvpp_cmdlist", "uburma", "ummu"} {
		if below := h.Dir("dev", f); len(below) > 0 {
			for _, b := range below {
				files = append(files, path.Join(f, b))
			}
		} else if h.Exists("dev", f) {
			files = append(files, f)
		}
	}
	var out []device.Node
	for _, f := range files {
		n, err := h.Node("/dev/"+f, true)
		if err != nil {
			return nil, device.Problem{Where: "/dev/" + f, What: fmt.Sprintf("cannot be used (%v), and without it no program can use an NPU; load the driver", err)}
		}
		out = append(out, n)
	}
	return out, nil
}

// nodes are the files of a chip: of the number that npu-smi tells, else, for a chip
// that is alone at its address, the single one that the kernel lists below it.
// Without the shared files none would be of use.
func (o *opener) nodes(c *chip, alone bool) ([]device.Node, error) {
	if len(o.shared) == 0 {
		return nil, nil // told once, by newOpener
	}
	where := c.bus
	if where == "" {
		where = c.key.String()
	}
	n, err := device.Node{}, error(nil)
	if c.physical >= 0 {
		n, err = o.h.Node(fmt.Sprintf("/dev/davinci%d", c.physical), false)
	} else if f, ok := chardev.Of(o.own, c.bus); ok && alone {
		n, err = f.Node(o.h, false)
	} else {
		return nil, device.Problem{Where: where, What: "which of /dev/davinci* it is, npu-smi does not tell; containers cannot be given it"}
	}
	if err != nil {
		return nil, device.Problem{Where: where, What: fmt.Sprintf("its device file cannot be used: %v", err)}
	}
	return append([]device.Node{n}, o.shared...), nil
}
