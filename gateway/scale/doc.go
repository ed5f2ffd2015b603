// Package scale decides how many replicas a revision of an InferenceService has, by the
// requests that it has, and writes that into the scale of its ReplicaSet: it alone, and
// nothing else of it. Only system imports it; pool is its Fleet.
//
// Want is the decision, a pure function. As many replicas are wanted as the requests of the
// last minute need, each with scale.concurrency at a time; a burst is answered by what the
// last seconds need, and ends slowly. A service whose least is 0 sleeps after
// scale.idleSeconds without a request, and is woken by the next at once. Before a replica is
// taken away it gets no more requests, and has none left: the pods that are to go are told
// to the controller of ReplicaSets by what their deletion costs.
//
// The replicas of a revision that leaves go so, too, and its controller ends it.
//
// It refuses to touch revisions that start: those are the controller's of services.
package scale
