package train

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/storage/dataset"
)

// The containers that copy between the object store and a worker, beside Container: one
// before it, one beside it.
const (
	containerData  = "data"
	containerStore = "checkpoints"
)

// Where a worker finds what it needs to speak to the store.
const (
	volumeStore = "store"
	dirStore    = "/polder/store"
)

// Variables that tell the copying containers what to do.
const (
	envSources     = "POLDER_SOURCES"
	envCheckpoints = "POLDER_CHECKPOINT_BUCKET"
)

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
		set := w.datasets[d.Dataset]
		if set == nil {
			return fmt.Sprintf("spec.data[%d].dataset: there is no Dataset %s in namespace %s; `polder dataset freeze` makes one", i, d.Dataset, w.job.Namespace)
		}
		if c := apimeta.FindStatusCondition(set.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Status != "True" {
			why := "it is being frozen"
			if c != nil {
				why = c.Message
			}
			return fmt.Sprintf("spec.data[%d].dataset: Dataset %s is not ready: %s", i, d.Dataset, why)
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
			set := w.datasets[d.Dataset]
			s.Bucket, s.Prefix, s.Manifest, s.Digest = set.Spec.Bucket, set.Spec.Prefix, set.Status.Manifest, set.Status.Digest
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
			if e.Name != envSources {
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

// storeEnv is how the tools of the field find the store.
func storeEnv() []corev1.EnvVar {
	key := func(name, field string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: v1alpha1.StoreJobSecret}, Key: field,
		}}}
	}
	return []corev1.EnvVar{
		key("AWS_ACCESS_KEY_ID", v1alpha1.StoreAccessKey), key("AWS_SECRET_ACCESS_KEY", v1alpha1.StoreSecretKey),
		key("AWS_ENDPOINT_URL", v1alpha1.StoreEndpoint), key("AWS_REGION", v1alpha1.StoreRegion),
		{Name: "AWS_CA_BUNDLE", Value: path.Join(dirStore, v1alpha1.StoreCA)},
	}
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
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volumeStore, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: v1alpha1.StoreJobSecret, Items: []corev1.KeyToPath{{Key: v1alpha1.StoreCA, Path: v1alpha1.StoreCA}},
	}}})
	ca := corev1.VolumeMount{Name: volumeStore, MountPath: dirStore, ReadOnly: true}
	worker := &spec.Containers[0]
	worker.VolumeMounts = append(worker.VolumeMounts, ca)
	worker.Env = append(storeEnv(), worker.Env...)

	rank := worker.Env[rankOf(worker.Env)]
	env := append(storeEnv(), rank, corev1.EnvVar{Name: "HOME", Value: "/tmp"},
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
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
		},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext:          worker.SecurityContext,
	}
	before := copier
	before.Name, before.Command = containerData, []string{"/fetch", "data"}
	before.Env = append(before.Env[:len(env):len(env)], corev1.EnvVar{Name: envSources, Value: strings.ReplaceAll(dataset.EncodeSources(sources(w)), "$", "$$")})
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
