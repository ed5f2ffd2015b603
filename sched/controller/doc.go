// Package controller runs the queues: it reads Queues, the jobs that wait in them and
// the devices that there are, has package queue decide, and writes what it decided
// into status.queue of the jobs and into the status of the Queues. It is the only
// writer of both. Only system imports it.
//
// It starts and ends nothing: workload/train does, by what status.queue says. So a job
// that must make room is gone only when it has no pods left, and what takes its place
// is told to wait (reason Reserved) until then. Of Jobs of Kubernetes and of pods that
// belong to none it holds those with the label polder.dev/queue, by what Kubernetes has
// for it: spec.suspend and a scheduling gate (held.go).
//
// Every decision is made anew of what the objects say, so a controller that is
// restarted, or killed between two writes, goes on where it was: jobs that are admitted
// count, jobs that are not wait. What it wrote and its cache does not show yet is
// remembered, or the same room would be given twice.
//
// A job waits in the queue that spec.queue names, else in the one of its namespace's
// label polder.dev/queue, else in none. A queue takes jobs of the namespaces that it or
// the nearest queue above it lists; of others it says so in the job. A queue that makes
// no sense is not ready and says why; what runs in it goes on, and the others work.
package controller
