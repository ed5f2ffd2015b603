// Package aws finds AWS's accelerators: Inferentia and Trainium, which AWS calls
// Neuron devices. Package discovery lists it.
//
// It reads the driver's files in sys/devices/virtual/neuron_device, and for what they
// lack the program neuron-ls: a chip's memory, and its PCI function, to which the
// driver's numbers have no fixed relation. One device is one chip with all of its
// cores. The names of the files are those of Neuron's documentation up to driver 2.30;
// what a later driver has moved is left out. The links of an UltraServer to its other
// machines are not seen.
package aws
