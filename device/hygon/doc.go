// Package hygon finds Hygon's DCUs, GPUs for computing of the K100 and Z100 lines.
// Package discovery lists it.
//
// DCUs are driven by a relative of amdgpu, so it reads KFD's files by way of package
// kfd. Hygon makes processors too, whose bridges and ports have the same vendor number:
// a DCU is told by its class. It asks hy-smi for what the kernel gets wrong or does not
// know: the NUMA node, which the kernel gives as 0 for every DCU, and the serial number.
//
// No dump of a machine with DCUs was seen; the files are read as KFD writes them
// elsewhere, hy-smi as others print it. Not found: vDCUs, the parts of a DCU that
// Hygon's own plugin makes; health; and meters outside of a saved output.
package hygon
