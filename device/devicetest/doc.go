// Package devicetest proves that an adapter keeps what device.Adapter promises,
// builds the made-up machines to prove it on, and opens captures of real ones where
// they are at hand. Tests of the rooms below device import it, and nobody else.
//
// A made-up machine is made from documented formats, and proves only that code and
// format agree; it is no evidence of how a real machine looks.
package devicetest
