package train

import (
	"strconv"
	"strings"

	"polder.dev/polder/api/v1alpha1"
)

// Labels and annotations of the objects a TrainJob owns.
const (
	// LabelAttempt, beside v1alpha1.LabelTrainJob, is the attempt's number: 0
	// for the first.
	LabelAttempt = v1alpha1.Group + "/attempt"
	// LabelUID is the TrainJob's uid, which tells it from an earlier one of the
	// same name.
	LabelUID = v1alpha1.Group + "/trainjob-uid"
	// labelManager is upstream's label for who looks after an object.
	labelManager = "app.kubernetes.io/managed-by"
	managedBy    = "polder"
)

// Container is the name of a worker's container in its pod.
const Container = "worker"

// Condition types of a TrainJob beside those of the whole group.
const (
	// ConditionRestarting: an attempt ended and the next is not there yet.
	ConditionRestarting = "Restarting"
	// ConditionGang: all workers are placed together, or none.
	ConditionGang = "Gang"
)

// VolumeName is the name of a TrainJob's volume claim.
func VolumeName(job string) string { return "train-" + job }

// ServiceName is the name of a TrainJob's headless Service.
func ServiceName(job string) string { return "train-" + job }

// AttemptName is the name of an attempt's Job and of its PodGroup.
func AttemptName(job string, attempt int32) string {
	return job + "-" + strconv.Itoa(int(attempt))
}

// jobLabels are the labels of everything that belongs to a job.
func jobLabels(job *v1alpha1.TrainJob) map[string]string {
	return map[string]string{v1alpha1.LabelTrainJob: job.Name, LabelUID: string(job.UID), labelManager: managedBy}
}

// attemptLabels are the labels of everything that belongs to one attempt.
func attemptLabels(job *v1alpha1.TrainJob, attempt int32) map[string]string {
	labels := jobLabels(job)
	labels[LabelAttempt] = strconv.Itoa(int(attempt))
	return labels
}

// digestOf returns the digest in an image reference or image id, or "".
func digestOf(image string) string {
	if i := strings.LastIndex(image, "sha256:"); i >= 0 && len(image)-i == len("sha256:")+64 {
		return image[i:]
	}
	return ""
}
