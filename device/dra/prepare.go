package dra

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"

	"polder.dev/polder/device"
)

// PrepareResourceClaims implements kubeletplugin.DRAPlugin.
func (d *Driver) PrepareResourceClaims(ctx context.Context, claims []*resourcev1.ResourceClaim) (map[types.UID]kubeletplugin.PrepareResult, error) {
	out := map[types.UID]kubeletplugin.PrepareResult{}
	for _, c := range claims {
		began := time.Now()
		devices, err := d.prepare(c)
		d.gauges.prepared(time.Since(began), err)
		if err != nil {
			err = fmt.Errorf("preparing the devices of claim %s/%s: %w", c.Namespace, c.Name, err)
			d.log.WarnContext(ctx, "preparing devices", "claim", c.Namespace+"/"+c.Name, "err", err)
		}
		out[c.UID] = kubeletplugin.PrepareResult{Err: err, Devices: devices}
	}
	return out, nil
}

// prepare makes the CDI file of a claim, or finds that it is made.
func (d *Driver) prepare(c *resourcev1.ResourceClaim) ([]kubeletplugin.Device, error) {
	results := d.ours(c)
	if len(results) == 0 {
		return nil, nil
	}
	known := d.list()
	p := prepared{UID: c.UID, Namespace: c.Namespace, Name: c.Name}
	for _, r := range c.Status.ReservedFor {
		if r.APIGroup == "" && r.Resource == "pods" {
			p.Pods = append(p.Pods, r.Name)
		}
	}
	groups := map[string][]device.Device{}
	for _, r := range results {
		i := slices.IndexFunc(known, func(k device.Device) bool { return k.Name == r.Device })
		if i < 0 {
			return nil, fmt.Errorf("device %s is not on this node any more", r.Device)
		}
		if err := usable(&known[i], d.machine.Stat); err != nil {
			return nil, err
		}
		if r.ShareID == nil && (r.AdminAccess == nil || !*r.AdminAccess) {
			if by, taken := d.claims.holder(r.Device, c.UID); taken {
				return nil, fmt.Errorf("device %s is still prepared for claim %s/%s", r.Device, by.Namespace, by.Name)
			}
			p.Devices = append(p.Devices, r.Device)
		}
		groups[r.Request] = append(groups[r.Request], known[i])
	}
	spec, err := specOf(c.UID, groups, d.machine)
	if err != nil {
		return nil, err
	}
	if err := d.claims.put(p, spec); err != nil {
		return nil, err
	}
	return answer(c.UID, results), nil
}

// answer names the CDI device of each request with the first of its devices: the
// kubelet hands every name on, and the runtime would do its edits as often.
func answer(uid types.UID, results []resourcev1.DeviceRequestAllocationResult) []kubeletplugin.Device {
	var out []kubeletplugin.Device
	named := map[string]bool{}
	for _, r := range results {
		one := kubeletplugin.Device{Requests: []string{r.Request}, PoolName: r.Pool, DeviceName: r.Device, ShareID: r.ShareID}
		if !named[r.Request] {
			one.CDIDeviceIDs = []string{cdiKind + "=" + cdiName(uid, r.Request)}
			named[r.Request] = true
		}
		out = append(out, one)
	}
	return out
}

// usable makes sure that a device can be handed out: it works, it is there, and its
// files are still those that were found.
func usable(d *device.Device, stat func(string) (fs.FileInfo, error)) error {
	if d.Emulated {
		return fmt.Errorf("device %s is emulated: nothing can run on it", d.Name)
	}
	if d.Health.State == device.Failed {
		return fmt.Errorf("device %s has failed: %s", d.Name, strings.TrimSpace(d.Health.Faults[0].Code+" "+d.Health.Faults[0].Message))
	}
	for _, n := range d.Nodes {
		if n.Major == 0 && n.Minor == 0 {
			continue
		}
		info, err := stat(n.Path)
		if err != nil {
			return fmt.Errorf("device %s: its file is gone: %w", d.Name, err)
		}
		s, ok := info.Sys().(*syscall.Stat_t)
		if !ok || info.Mode()&os.ModeDevice == 0 || int64(unix.Major(s.Rdev)) != n.Major || int64(unix.Minor(s.Rdev)) != n.Minor {
			return fmt.Errorf("device %s: %s is not the device file that was found", d.Name, n.Path)
		}
	}
	return nil
}

// UnprepareResourceClaims implements kubeletplugin.DRAPlugin.
func (d *Driver) UnprepareResourceClaims(_ context.Context, claims []kubeletplugin.NamespacedObject) (map[types.UID]error, error) {
	out := map[types.UID]error{}
	for _, c := range claims {
		out[c.UID] = d.claims.remove(c.UID)
	}
	return out, nil
}

var _ kubeletplugin.DRAPlugin = (*Driver)(nil)

// errClaim means that a claim's UID is no file name.
var errClaim = errors.New("the claim's UID is not one")
