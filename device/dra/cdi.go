package dra

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	cdi "tags.cncf.io/container-device-interface/specs-go"

	"polder.dev/polder/device"
	"polder.dev/polder/device/profile"
)

// cdiKind is the vendor and class of the CDI devices.
const cdiKind = profile.Domain + "/claim"

// DevicesEnv names, in a container, the devices that it was given.
const DevicesEnv = "POLDER_DEVICES"

// cdiName is the CDI device of one request of a claim. A UID is never used again, so
// neither is the name. A subrequest's name has a slash, which CDI has not.
func cdiName(uid types.UID, request string) string {
	return string(uid) + "-" + strings.ReplaceAll(request, "/", ".")
}

// specOf writes what containers of a claim need, a CDI device for each request, in
// the oldest version of CDI that can say it.
func specOf(uid types.UID, groups map[string][]device.Device, machine Machine) ([]byte, error) {
	s := &cdi.Spec{Kind: cdiKind}
	for _, request := range slices.Sorted(maps.Keys(groups)) {
		devices := groups[request]
		e := machine.Edits(devices)
		names := make([]string, len(devices))
		for i := range devices {
			names[i] = devices[i].Name
		}
		out := cdi.ContainerEdits{Env: []string{DevicesEnv + "=" + strings.Join(names, ",")}}
		for _, k := range slices.Sorted(maps.Keys(e.Env)) {
			out.Env = append(out.Env, k+"="+e.Env[k])
		}
		seen := map[string]bool{}
		for _, n := range e.Nodes {
			if !seen[n.Path] {
				out.DeviceNodes = append(out.DeviceNodes, &cdi.DeviceNode{Path: n.Path, Type: n.Type, Major: n.Major, Minor: n.Minor, Permissions: "rw"})
			}
			seen[n.Path] = true
		}
		for _, m := range e.Mounts {
			if _, err := machine.Stat(m.Host); err != nil || seen[m.Container] {
				continue // what the host lacks is left out
			}
			seen[m.Container] = true
			out.Mounts = append(out.Mounts, &cdi.Mount{HostPath: m.Host, ContainerPath: m.Container, Options: []string{"ro", "nosuid", "nodev", "rbind"}})
		}
		s.Devices = append(s.Devices, cdi.Device{Name: cdiName(uid, request), ContainerEdits: out})
	}
	version, err := cdi.MinimumRequiredVersion(s)
	if err != nil {
		return nil, fmt.Errorf("choosing a version of CDI: %w", err)
	}
	s.Version = version
	return json.MarshalIndent(s, "", "  ")
}
