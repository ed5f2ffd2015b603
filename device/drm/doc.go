// Package drm tells which files in /dev/dri are those of which device. The rooms of
// GPU vendors below device import it.
//
// It reads sys/class/drm, where card0 and renderD128 link to the device they are of: a
// PCI function, or a platform device such as amdgpu_xcp_0 for a part of one. A file is
// known by that link alone; its number says nothing.
package drm
