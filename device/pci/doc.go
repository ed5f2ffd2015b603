// Package pci reads the PCI bus of a machine, and makes devices of what it says
// for vendors of whom little more is known. The rooms of vendors import it.
//
// It reads sysfs through a file system, so a copy of one is as good. It opens no
// device and asks no program. Functions that sysfs describes badly are kept with
// what could be read.
package pci
