// Package gang places requests that are of use only together: all of them, or none. It
// looks for the tightest domain of the topology that has room for all, such as a host, a
// rack or a zone, and of several it takes the one that is wasted least by it.
//
// Everybody may import it. It is plain Go and works on a [sched.Board], which it leaves as
// it was if the gang finds no room; it then says how many were short, and where.
package gang
