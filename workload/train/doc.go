// Package train runs TrainJobs: it is the controller that turns one into
// upstream objects, watches them, and writes the TrainJob's status.
//
// Only system imports it. It meets the rest of the house through API objects
// and three interfaces that it defines itself: Volumes (the files of a job's
// volume), Publisher (a directory becomes a model artifact) and a clock.
//
// One attempt at a job is one Indexed Job named <job>-<attempt>, with all
// workers in it and no retries of its own: training is collective, so when one
// worker dies all are started again, from the latest checkpoint, as the next
// attempt. A job owns one volume claim and one headless Service, both named
// train-<job>, which outlive its attempts, and, with more than one worker, one
// PodGroup per attempt, so that all of its workers start or none.
//
// Every reconciliation reads the world, runs an ordered list of pure steps over
// it (steps.go), patches the status once, and then acts. Status comes first
// because it is the record of the decision: an attempt's number is
// status.restarts, and its end is written down before its pods are removed.
//
// Invariants:
//   - A volume never has workers of two attempts: the next Job is created only
//     after a live read of the API server found no pod of the job left.
//   - A job that has run is never given a second, empty volume.
//   - Complete and Failed never become False again.
//   - Every field of TrainJobStatus but queue is written here and nowhere else.
//   - A job that has a queue has workers only while status.queue says that it is
//     admitted, or until it has made room.
//   - A job that is moved is kept to the nodes and devices that were named for one start, and for so
//     long as that is given time; after that it goes wherever it fits.
//
// It refuses to choose a sandbox (admission does, unless the Runtime's variant
// names one), to read logs (the kubelet leaves a dead worker's last lines in
// the pod's status), and to run a job whose spec it would have to bend.
package train
