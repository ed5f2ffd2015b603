// Package nvidia finds NVIDIA's GPUs, for computing and for graphics, and the MIG
// instances they are split into. Package discovery lists it.
//
// It reads the PCI bus and the driver's files in proc/driver/nvidia, and asks for what
// these lack: memory, serial number, links, health, meters, and what instances are
// called. NVML is asked, the driver's library, which our helper binary polder-nvml
// loads in a process of its own, so that a library that hangs or crashes costs a time
// limit and a Problem. nvidia-smi is asked where that fails or is not there. What either
// says becomes the same answer, so nothing but the provenance tells who was asked.
// Without both the GPUs are found all the same, and the catalogue tells their memory.
//
// A card in MIG mode is not a device; its instances are. NVSwitches, sound and USB
// functions of cards, and the GPUs of Tegra chips, which are not on the PCI bus, are
// not found.
//
// Of the driver's messages in the kernel's log, it understands the errors that are
// called Xid, by NVIDIA's catalogue of them, and what the driver asks to be done. The
// forms are from the driver's source; none was captured for us.
package nvidia
