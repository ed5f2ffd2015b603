// Package habana finds Intel's Gaudi accelerators, which Habana Labs made first and whose
// driver, programs and PCI numbers bear its name. Their vendor is intel. Package
// discovery lists it.
//
// It reads the files of the driver habanalabs in sys/class/accel, or sys/class/habanalabs
// of old drivers, as Linux documents them, and asks hl-smi for what they lack: UUIDs,
// serial numbers, memory. The columns of hl-smi are those of its documentation and of
// outputs that others show; none was captured for us.
//
// The ports by which Gaudis reach each other are Ethernet, and nothing on the machine
// says which are wired, so no domain of the fabric is told. Goya, of class 1200 too, is
// found by its class, with what the driver says of it.
package habana
