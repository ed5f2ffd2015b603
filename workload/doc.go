// Package workload is the room of what people run: one sub-package per kind of
// work, each a controller of one kind of the polder.dev group. A controller
// turns its object into upstream objects (Jobs, Services, volumes) and says in
// the object's status what became of it; it never runs anything itself.
//
// The sub-packages are imported by system alone and never by each other: they
// meet through API objects. This root holds what they must all understand alike:
// which device a software stack needs, which variant of a Runtime work is given, how fast
// jobs like one were with each, how a pod reaches the object store and what is copied to it, and what an image reference
// means. It is pure, so that controllers elsewhere may import it, too.
package workload
