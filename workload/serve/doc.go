// Package serve runs InferenceServices: it is the controller that keeps for each
// revision of a service a ReplicaSet of the same name, and says in the service's
// status where requests are to go. It serves nothing itself: the gateway does.
//
// Only system imports it. It meets the rest of the house through API objects, and an
// interface that it defines itself: Mounter (a model's artifact becomes a volume).
//
// A revision is what is served: a model by digest, an image, its settings. Its name is
// made of what it is, so the same revision is never made twice, and to take a change
// back is to name what was there before. A new one starts beside the old one, with as
// many replicas; when these are ready it becomes stable, and the old one leaves: it
// gets no requests from then on, and ends when it has had time to answer those that it
// has. A revision that does not start says why, and the old one goes on serving.
//
// Every reconciliation reads the world, runs an ordered list of pure steps over it
// (steps.go), patches the status once, and then acts. Status comes first, because the
// gateway acts on it: a revision is in the status before its ReplicaSet is there, and
// gone from it before that is removed.
//
// Invariants:
//   - A ReplicaSet that the status gives requests to is not removed.
//   - A revision never gets requests before a replica of it has been ready.
//   - How many replicas a ReplicaSet has is written here once, when it is made; the
//     gateway alone writes it afterwards.
//   - Every field of InferenceServiceStatus is written here and nowhere else.
//
// It refuses to choose a sandbox (admission does, unless the Runtime's variant names
// one), to change what runs (a changed service is another revision), and to serve what
// is not there: it says what is missing, keeps what it has, and looks again.
package serve
