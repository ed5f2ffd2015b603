package queue

import (
	"time"

	"polder.dev/polder/device"
)

// Queue is one node of the forest.
type Queue struct {
	Name string
	// Parent by name; "" for a root.
	Parent string
	// Weight of its share beside its neighbours'; 0 is 1.
	Weight float64
	Quotas []Quota
	// Preempt says whom work of the queue may end.
	Preempt Preempt
	// HalfLife of what is remembered of past use, and Patience, for how long the first
	// of the queue lets others pass; 0 is what the queue above it has, and of a root
	// what the Options say.
	HalfLife, Patience time.Duration
}

// Quota is what a queue has of one class.
type Quota struct {
	Class Class
	// Nominal is the queue's own.
	Nominal int64
	// BorrowMax is how much more it may use of what others leave; nil: all of it.
	BorrowMax *int64
	// LendMax is how much of its own others may use; nil: all of it.
	LendMax *int64
}

// Preempt says whom a queue's work may end.
type Preempt struct {
	// Within the queue itself.
	Within Policy
	// Reclaim of what others borrowed, for what the queue does not borrow.
	Reclaim Policy
	// Fair says whether also what the queue borrows may take the place of what others
	// have borrowed, as long as their share stays no smaller than the queue's becomes.
	Fair Policy
}

// Policy says of what priority those may be that are ended.
type Policy int

// The policies.
const (
	Never Policy = iota
	LowerPriority
	Any // within a queue it is LowerPriority: work of equal priority would end each other in turn
)

// Workload is something that runs as a whole or not at all.
type Workload struct {
	// ID tells it from all others.
	ID string
	// Queue that it waits in; a leaf.
	Queue    string
	Priority int32
	// Created is when it was submitted. Of equal priority, the oldest is first.
	Created time.Time
	PodSets []PodSet
	// Duration that it will run, if that is known; 0 if not.
	Duration time.Duration
	// Keep says that it must not be ended for others.
	Keep bool
}

// PodSet is a number of equal pods.
type PodSet struct {
	Count int
	// CPU in thousandths and Memory in bytes, of one pod.
	CPU, Memory int64
	// Ask for accelerators, of one pod.
	Ask Ask
}

// Ask says which accelerators will do.
type Ask struct {
	Count int
	// Kinds, best first; none is every accelerator but a CPU.
	Kinds []device.Kind
	// Products by name; none is any.
	Products []string
	// Software, best first; none is any.
	Software []string
	// Speeds are how fast the work is known to be with some software: the more, the
	// faster. They come before the order of Kinds and Software; see [State.Cycle].
	Speeds map[string]float64
	// MemoryMin of one device, in bytes.
	MemoryMin int64
	// Precision that it must compute in, as far as is known.
	Precision device.Precision
	// Share accepts a part of a device that has the memory.
	Share bool
	// Takes is how much each takes of the flavours that will do, by their names, where
	// that is known; then only Count counts of the rest. See Fraction.
	Takes map[string]int64
}

// Run is what is known of a workload that has been admitted.
type Run struct {
	// Flavors that it was given, of those that it could have been; see Admission.
	Flavors []string
	// Started is when it was admitted.
	Started time.Time
	// Saved is when it last kept what it had done; zero if never.
	Saved time.Time
}

// Options of a State. A zero field means its default.
type Options struct {
	// HalfLife of what is remembered of past use; 0 remembers nothing.
	HalfLife time.Duration
	// Patience is how long a workload lets others pass that fit where it does not; 10
	// minutes. Less than 0: for ever.
	Patience time.Duration
	// VictimsMax bounds how many workloads one cycle ends; 1000.
	VictimsMax int
	// Products that are known beside those of the flavours. nil: a quota may name any.
	Products []string
}

// Limits on what a State takes.
const (
	queuesMax  = 20_000
	depthMax   = 16
	classesMax = 256
	flavorsMax = 1024
	podsMax    = 1_000_000
	devicesMax = 1024 // of one pod
	optionsMax = 64   // combinations of flavours that are tried for one workload
)
