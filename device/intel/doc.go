// Package intel finds Intel's GPUs on cards: Data Center Max and Flex, Arc and Arc Pro.
// Package discovery lists it.
//
// It reads the files of the drivers i915 and xe in sys/class/drm and beside the PCI
// functions. Graphics inside processors are left alone: they are at the address 00:02
// and in no catalogue. Memory is told by some versions of the drivers only; else it is
// the catalogue's. It asks xpu-smi for the names of cards that the catalogue lacks, and
// only where a card of Intel's is, as Kunlunxin has a program of that name.
//
// What xpu-smi calls a UUID is mostly made of the card's numbers and address; then it
// tells no card from those of other machines and is not taken. Not found: Xe-Link,
// which no file of the drivers that we know shows; utilization, which takes two looks;
// and whether a card is well, but for a failure of its firmware that xe reports, and for
// what the kernel's log tells when xe has given a card up.
package intel
