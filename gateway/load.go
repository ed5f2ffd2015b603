package gateway

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"polder.dev/polder/api/v1alpha1"
)

// Load is what is known of a revision when it is decided how many replicas it is to have.
type Load struct {
	// Revision is the ReplicaSet, Service the InferenceService that it is of.
	Revision types.NamespacedName
	Service  string
	// Scale is the service's.
	Scale v1alpha1.Scale
	// Leaving says that it gets no requests any more: no replica is wanted once those that
	// it has are answered.
	Leaving bool
	// Timeout of one answer: how long a replica that is to go may need.
	Timeout time.Duration
	// Replicas that are wanted now, and how many take requests.
	Replicas int32
	Ready    int32
	// Requests that are in flight or wait, and the same added up over time, in
	// request-seconds since the gateway was started.
	Requests int
	Area     float64
	// Since when the revision is known, and when it had its last request.
	Since time.Time
	Used  time.Time
}

// Info is what a client may know of a service.
type Info struct {
	Name     string
	Protocol v1alpha1.Protocol
	Created  time.Time
	// Ready: a request would be answered, if need be after a replica has been woken.
	Ready bool
}
