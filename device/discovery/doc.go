// Package discovery finds the devices of a machine, of all vendors. Its list of
// adapters is the one place that names them all. The command line, the driver and
// the emulator import it.
//
// It holds adapters to their promises: one that hangs or panics costs a Problem
// and the devices it alone would have found, never the inventory. It changes
// nothing on the machine.
package discovery
