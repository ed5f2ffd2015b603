// Package devicetest proves that an adapter keeps what device.Adapter promises,
// and builds the made-up machines to prove it on. Tests of the rooms below device
// import it, and nobody else.
//
// What it makes is made from documented formats, and proves only that code and
// format agree; it is no evidence of how a real machine looks.
package devicetest
