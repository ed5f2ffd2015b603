package train

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/workload"
)

// Where a worker finds things; docs/formats/training.md promises them.
const (
	dirCode        = "/polder/code"
	dirData        = "/polder/data"
	dirCheckpoints = "/polder/checkpoints"
	dirOutput      = "/polder/output"
	dirMetrics     = "/polder/metrics"
	masterPort     = 29500
)

// Where the same things are on the volume.
const (
	subCheckpoints = "checkpoints"
	subOutput      = "output"
	subMetrics     = "metrics"
	metricsFile    = "metrics.jsonl"
)

// Names of the pod's volumes; data sets are volumeData and their name.
const (
	volumeCode = "code"
	volumeRun  = "run"
	volumeTmp  = "tmp"
	volumeData = "data-"
)

const (
	// uid of a worker's processes, and their group.
	uid = 65532
	// graceSeconds is how long a worker may take to end when it is told to:
	// checkpoints are written in one piece, so there is little to save.
	graceSeconds = 10
	// indexAnnotation is a worker's number, written by the Job controller.
	indexAnnotation = "batch.kubernetes.io/job-completion-index"
)

// podTemplate is the worker of one attempt.
func podTemplate(job *v1alpha1.TrainJob, c workload.Choice, image string, attempt int32, gang bool) corev1.PodTemplateSpec {
	v := c.Variant
	spec := corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		TerminationGracePeriodSeconds: ptr.To[int64](graceSeconds),
		AutomountServiceAccountToken:  ptr.To(false),
		EnableServiceLinks:            ptr.To(false),
		Subdomain:                     ServiceName(job.Name),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:        ptr.To(true),
			RunAsUser:           ptr.To[int64](uid),
			RunAsGroup:          ptr.To[int64](uid),
			FSGroup:             ptr.To[int64](uid),
			FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch),
			SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Volumes: volumes(job),
		Containers: []corev1.Container{{
			Name:                     Container,
			Image:                    image,
			Command:                  job.Spec.Command,
			WorkingDir:               dirCode,
			Env:                      env(job, v, attempt),
			Resources:                resources(job, c),
			VolumeMounts:             mounts(job),
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: ptr.To(false),
				ReadOnlyRootFilesystem:   ptr.To(true),
				RunAsNonRoot:             ptr.To(true),
				Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
	}
	if c.Claim != nil {
		spec.ResourceClaims = []corev1.PodResourceClaim{{Name: claim.Request, ResourceClaimTemplateName: ptr.To(AttemptName(job.Name, attempt))}}
		// The devices asked for may be emulated ones: where those are, nothing else is.
		spec.Tolerations = []corev1.Toleration{{Key: v1alpha1.LabelEmulated, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}}
	}
	if v.Sandbox != "" {
		spec.RuntimeClassName = ptr.To(v.Sandbox)
	}
	if gang {
		spec.SchedulingGroup = &corev1.PodSchedulingGroup{PodGroupName: ptr.To(AttemptName(job.Name, attempt))}
	}
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: attemptLabels(job, attempt)}, Spec: spec}
}

// volumes of a worker: code is an image, data is one or is copied to an empty directory,
// the rest is the job's volume.
func volumes(job *v1alpha1.TrainJob) []corev1.Volume {
	image := func(name, ref string) corev1.Volume {
		return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			Image: &corev1.ImageVolumeSource{Reference: workload.Reference(ref, ""), PullPolicy: corev1.PullIfNotPresent},
		}}
	}
	vs := []corev1.Volume{
		image(volumeCode, job.Spec.Code.Image),
		{Name: volumeRun, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: VolumeName(job.Name)},
		}},
		{Name: volumeTmp, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}
	for i, d := range job.Spec.Data {
		v := corev1.Volume{Name: volumeData + strconv.Itoa(i), VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
		if d.Image != "" {
			v = image(v.Name, d.Image)
		}
		vs = append(vs, v)
	}
	return vs
}

// mounts of a worker. The volume is mounted by its directories, so that a
// worker cannot replace one of them by something else.
func mounts(job *v1alpha1.TrainJob) []corev1.VolumeMount {
	ms := []corev1.VolumeMount{
		{Name: volumeCode, MountPath: dirCode, ReadOnly: true},
		{Name: volumeRun, MountPath: dirCheckpoints, SubPath: subCheckpoints},
		{Name: volumeRun, MountPath: dirOutput, SubPath: subOutput},
		{Name: volumeRun, MountPath: dirMetrics, SubPath: subMetrics},
		{Name: volumeTmp, MountPath: "/tmp"},
	}
	for i, d := range job.Spec.Data {
		ms = append(ms, corev1.VolumeMount{Name: volumeData + strconv.Itoa(i), MountPath: path.Join(dirData, d.Name), ReadOnly: true})
	}
	return ms
}

// env of a worker: the variant's, then the job's, then the contract's, which
// win because the last of two equal names does.
func env(job *v1alpha1.TrainJob, v v1alpha1.RuntimeVariant, attempt int32) []corev1.EnvVar {
	e := []corev1.EnvVar{{Name: "HOME", Value: "/tmp"}, {Name: "OMP_NUM_THREADS", Value: strconv.FormatInt(workload.Threads(job.Spec.Resources), 10)}}
	e = append(append(e, v.Env...), job.Spec.Env...)
	set := func(name, value string) { e = append(e, corev1.EnvVar{Name: name, Value: value}) }
	for _, name := range slices.Sorted(maps.Keys(job.Spec.Parameters)) {
		// The kubelet expands $(NAME) in values; a parameter means itself.
		set(parameterEnv(name), strings.ReplaceAll(job.Spec.Parameters[name], "$", "$$"))
	}
	e = append(e, corev1.EnvVar{Name: "RANK", ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.annotations['" + indexAnnotation + "']"},
	}})
	set("WORLD_SIZE", strconv.Itoa(int(workers(job))))
	set("LOCAL_RANK", "0")
	set("LOCAL_WORLD_SIZE", "1")
	set("MASTER_ADDR", fmt.Sprintf("%s-0.%s.%s.svc", AttemptName(job.Name, attempt), ServiceName(job.Name), job.Namespace))
	set("MASTER_PORT", strconv.Itoa(masterPort))
	set("POLDER_JOB", job.Name)
	set("POLDER_NAMESPACE", job.Namespace)
	set("POLDER_ATTEMPT", strconv.Itoa(int(attempt)))
	set("POLDER_CODE_DIR", dirCode)
	set("POLDER_DATA_DIR", dirData)
	set("POLDER_CHECKPOINT_DIR", dirCheckpoints)
	set("POLDER_OUTPUT_DIR", dirOutput)
	set("POLDER_METRICS_FILE", path.Join(dirMetrics, metricsFile))
	return e
}

// parameterEnv is the variable that carries a parameter: its name in upper
// case, with '_' for what a variable's name cannot hold.
func parameterEnv(name string) string {
	return reservedPrefix + "PARAM_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
}

// resources of a worker.
func resources(job *v1alpha1.TrainJob, c workload.Choice) corev1.ResourceRequirements {
	return workload.Resources(job.Spec.Resources, job.Spec.Accelerators.Count, c)
}

// workers of a job: at least one.
func workers(job *v1alpha1.TrainJob) int32 { return max(job.Spec.Workers, 1) }
