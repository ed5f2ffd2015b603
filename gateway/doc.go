// Package gateway says what the front door for models is made of: who asks (Client), what
// for (Call), what answers when nobody else does (Fault), and the two seams between its
// rooms (Services, Routes). It starts nothing and knows no cluster. Its rooms are auth (who
// asks, and may they), door (paths, protocols, bounds), pool (which replica answers, and who
// waits for one), scale (how many replicas there are) and route (what a ModelRoute decides).
// They import this package and never each other; system joins them. Whoever serves models
// through the gateway may import it.
//
// Nobody is anonymous. A request that was accepted is answered: by a replica, or by a Fault
// that says what to do. The gateway keeps nothing that it could lose: all it knows it reads
// from the API again when it is started.
//
// It refuses everything that is not for an InferenceService or a ModelRoute.
package gateway
