// Package distillation is the controller of Distillations: it turns one into TrainJobs
// (the teacher answers, the student learns) and an Evaluation, one after the other, and
// registers the student under its name when it has learned something and meets the
// requirements. What each stage consists of is said by model/distil. Only system imports
// it.
//
//   - It meets trainers and judges through their objects alone, which belong to the
//     distillation: they go when it goes. Models stay.
//   - What happens next follows from which objects there are, so it goes on where it
//     stopped, whenever it is stopped.
//   - The teacher's answers are a Model of their own, named by what they are answers to; a
//     later distillation that asks the same finds them.
//   - A budget that is used up ends what runs. What has been made by then stays.
//   - A student that was not judged, or did not pass, is never registered under the name of
//     the output: it stays as NAME-candidate.
//
// It is the only writer of the status of Distillations, and beside workload/train and
// importing persons the only one that makes Models.
package distillation
