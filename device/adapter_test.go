package device_test

import (
	"testing"

	"polder.dev/polder/device"
)

func TestNodesGivesEachFileOnce(t *testing.T) {
	shared := device.Node{Path: "/dev/kfd", Shared: true}
	got := device.Nodes([]device.Device{
		{Nodes: []device.Node{shared, {Path: "/dev/dri/renderD128"}}},
		{Nodes: []device.Node{shared, {Path: "/dev/dri/renderD129"}}},
	})
	if len(got) != 3 {
		t.Errorf("%d files, want 3: %v", len(got), got)
	}
}
