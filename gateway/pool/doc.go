// Package pool knows the replicas of InferenceServices and gives each request one: of the
// revision that its share falls on, the replica with the fewest requests in flight. Only
// system imports it; door and route see it as gateway.Services, scale as its own Fleet.
//
// A replica takes requests from the moment that it says so itself: pool asks pods that have
// an address and are not Ready yet, every few hundredths of a second, since the kubelet asks
// once a second. One that refuses a connection is left out until it answers again. Requests
// that no replica can take wait, first come first served, within the service's bounds; a
// client that goes away gives up its place at once. A request is sent a second time only if
// nothing of an answer was seen and it may be: the connection was refused, or the protocol
// is one of models, where asking twice changes nothing.
//
// It refuses pods that no revision owns, and addresses that are not of the cloud's pods.
package pool
