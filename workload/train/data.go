package train

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/storage/dataset"
	"polder.dev/polder/workload"
)

// The containers that copy between the object store and a worker, beside Container: one
// before it, one beside it.
const (
	containerData  = "data"
	containerStore = "checkpoints"
)

// envCheckpoints tells the container beside a worker where checkpoints go.
const envCheckpoints = "POLDER_CHECKPOINT_BUCKET"

// usesStore reports whether a job's workers speak to the object store.
func usesStore(job *v1alpha1.TrainJob) bool {
	return job.Spec.Checkpoints.Bucket != nil || copies(job)
}

// copies reports whether a job has data that is copied to its workers.
func copies(job *v1alpha1.TrainJob) bool {
	for _, d := range job.Spec.Data {
		if d.Image == "" {
			return true
		}
	}
	return false
}

// readDatasets reads those that the job names, as long as nothing of it runs.
func (r *Reconciler) readDatasets(ctx context.Context, w *world) error {
	w.datasets = map[string]*v1alpha1.Dataset{}
	for _, d := range w.job.Spec.Data {
		if d.Dataset == "" {
			continue
		}
		set, err := lookup(ctx, r.client, w.job.Namespace, d.Dataset, &v1alpha1.Dataset{})
		if err != nil {
			return err
		}
		if set != nil {
			w.datasets[d.Dataset] = set
		}
	}
	return nil
}

// unfrozen says which data set the job has to wait for, and why; "" if for none.
func unfrozen(w *world) string {
	for i, d := range w.job.Spec.Data {
		if d.Dataset == "" {
			continue
		}
		if why := workload.Unfrozen(fmt.Sprintf("spec.data[%d].dataset", i), w.job.Namespace, d.Dataset, w.datasets[d.Dataset]); why != "" {
			return why
		}
	}
	return ""
}

// sources are what has to be copied to a worker.
func sources(w *world) []dataset.Source {
	var out []dataset.Source
	for _, d := range w.job.Spec.Data {
		s := dataset.Source{Dir: path.Join(dirData, d.Name)}
		switch {
		case d.Bucket != nil:
			s.Bucket, s.Prefix = d.Bucket.Name, d.Bucket.Prefix
		case d.Dataset != "":
			s = workload.SourceOf(w.datasets[d.Dataset], s.Dir)
		default:
			continue
		}
		out = append(out, s)
	}
	return out
}

// copiedFrom says what an attempt has copied to a directory: a data set's digest, or a
// bucket's address, which pins nothing.
func copiedFrom(attempt *batchv1.Job, dir string) string {
	if attempt == nil {
		return ""
	}
	for _, c := range attempt.Spec.Template.Spec.InitContainers {
		for _, e := range c.Env {
			if e.Name != workload.EnvSources {
				continue
			}
			list, err := dataset.DecodeSources(strings.ReplaceAll(e.Value, "$$", "$"))
			if err != nil {
				return ""
			}
			for _, s := range list {
				switch {
				case s.Dir == dir && s.Digest != "":
					return s.Digest
				case s.Dir == dir:
					return "s3://" + s.Bucket + "/" + s.Prefix
				}
			}
		}
	}
	return ""
}

// checkpointPrefix is where a job's checkpoints go in their bucket: where it says, or a
// place that no other job has.
func checkpointPrefix(job *v1alpha1.TrainJob) string {
	p := job.Spec.Checkpoints.Bucket.Prefix
	if p == "" {
		p = path.Join(job.Namespace, job.Name, string(job.UID))
	}
	return strings.TrimSuffix(p, "/") + "/"
}

// withStore adds to a worker's pod what copies between it and the store: data and, to an
// empty volume, the newest checkpoint before it starts; checkpoints while it runs.
func withStore(spec *corev1.PodSpec, w *world, image string) {
	job := w.job
	if !usesStore(job) {
		return
	}
	spec.Volumes = append(spec.Volumes, workload.StoreVolume())
	ca := workload.StoreMount()
	worker := &spec.Containers[0]
	worker.VolumeMounts = append(worker.VolumeMounts, ca)
	worker.Env = append(workload.StoreEnv(), worker.Env...)

	rank := worker.Env[rankOf(worker.Env)]
	env := append(workload.StoreEnv(), rank, corev1.EnvVar{Name: "HOME", Value: "/tmp"},
		corev1.EnvVar{Name: "POLDER_CHECKPOINT_DIR", Value: dirCheckpoints},
		corev1.EnvVar{Name: "POLDER_METRICS_FILE", Value: path.Join(dirMetrics, metricsFile)})
	if b := job.Spec.Checkpoints.Bucket; b != nil {
		env = append(env, corev1.EnvVar{Name: envCheckpoints, Value: "s3://" + b.Name + "/" + checkpointPrefix(job)})
	}
	copier := corev1.Container{
		Image: image, Env: env,
		VolumeMounts: []corev1.VolumeMount{
			ca,
			{Name: volumeTmp, MountPath: "/tmp"},
			{Name: volumeRun, MountPath: dirCheckpoints, SubPath: subCheckpoints},
			{Name: volumeRun, MountPath: dirMetrics, SubPath: subMetrics},
		},
		Resources:                workload.CopierResources(),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext:          worker.SecurityContext,
	}
	before := copier
	before.Name, before.Command = containerData, []string{"/fetch", "data"}
	before.Env = append(before.Env[:len(env):len(env)], workload.SourcesEnv(sources(w)))
	for i, d := range job.Spec.Data {
		if d.Image == "" {
			before.VolumeMounts = append(before.VolumeMounts, corev1.VolumeMount{Name: volumeData + strconv.Itoa(i), MountPath: path.Join(dirData, d.Name)})
		}
	}
	spec.InitContainers = append(spec.InitContainers, before)
	if job.Spec.Checkpoints.Bucket != nil {
		beside := copier
		beside.Name, beside.Command, beside.RestartPolicy = containerStore, []string{"/fetch", "checkpoints"}, ptr.To(corev1.ContainerRestartPolicyAlways)
		spec.InitContainers = append(spec.InitContainers, beside)
	}
}

// rankOf is the place of a worker's number among its variables.
func rankOf(env []corev1.EnvVar) int {
	for i := range env {
		if env[i].Name == "RANK" {
			return i
		}
	}
	panic("train: a worker without a number")
}
