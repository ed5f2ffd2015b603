// Package stock says what drivers publish in words of the board: of which model a
// device is, how much of it a request takes, and how much of it is left beside what
// claims have. A model is a class of devices that no claim can tell apart. Devices that
// share counters are parts of one that can be cut ([Catalogue.Cut]).
//
// Everybody may import it: the scheduler's plugins count by it, and so does who reads
// a cluster from outside. It sees API objects that are handed to it, and evaluates no
// selectors: that takes a library of weight, and is done where that is linked.
package stock
