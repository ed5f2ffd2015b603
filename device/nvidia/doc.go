// Package nvidia finds NVIDIA's GPUs, for computing and for graphics, and the MIG
// instances they are split into. Package discovery lists it.
//
// It reads the PCI bus and the driver's files in proc/driver/nvidia, and asks
// nvidia-smi for what these lack: memory, serial number, links, health, meters, and
// what instances are called. It needs no library of NVIDIA's. Without nvidia-smi
// the GPUs are found all the same, and the catalogue tells their memory.
//
// A card in MIG mode is not a device; its instances are. NVSwitches, sound and USB
// functions of cards, and the GPUs of Tegra chips, which are not on the PCI bus, are
// not found.
//
// Of the driver's messages in the kernel's log, it understands the errors that are
// called Xid, by NVIDIA's catalogue of them, and what the driver asks to be done. The
// forms are from the driver's source; none was captured for us.
package nvidia
