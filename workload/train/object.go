package train

import (
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/workload"
)

// meta of an object that the job owns and that goes when the job goes.
func meta(job *v1alpha1.TrainJob, name string, labels map[string]string) metav1.ObjectMeta {
	owner := metav1.NewControllerRef(job, v1alpha1.GroupVersion.WithKind("TrainJob"))
	return metav1.ObjectMeta{
		Name:            name,
		Namespace:       job.Namespace,
		Labels:          labels,
		OwnerReferences: []metav1.OwnerReference{*owner},
	}
}

// claimOf is the volume of checkpoints, metrics and output.
func claimOf(job *v1alpha1.TrainJob) *corev1.PersistentVolumeClaim {
	size := job.Spec.Checkpoints.Size
	if size.IsZero() {
		size = resource.MustParse("2Gi")
	}
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: meta(job, VolumeName(job.Name), jobLabels(job)),
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: size}},
		},
	}
	if class := job.Spec.Checkpoints.StorageClass; class != "" {
		claim.Spec.StorageClassName = ptr.To(class)
	}
	return claim
}

// serviceOf gives the workers names. They find each other before any of them is
// ready, so it publishes their addresses at once.
func serviceOf(job *v1alpha1.TrainJob) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: meta(job, ServiceName(job.Name), jobLabels(job)),
		Spec: corev1.ServiceSpec{
			ClusterIP:                corev1.ClusterIPNone,
			Selector:                 map[string]string{v1alpha1.LabelTrainJob: job.Name},
			PublishNotReadyAddresses: true,
			Ports:                    []corev1.ServicePort{{Name: "rendezvous", Port: masterPort}},
		},
	}
}

// groupOf makes the workers of an attempt start together and be preempted
// together: a part of them cannot train.
func groupOf(job *v1alpha1.TrainJob, attempt int32) *schedulingv1beta1.PodGroup {
	g := &schedulingv1beta1.PodGroup{
		ObjectMeta: meta(job, AttemptName(job.Name, attempt), attemptLabels(job, attempt)),
		Spec: schedulingv1beta1.PodGroupSpec{
			SchedulingPolicy: schedulingv1beta1.PodGroupSchedulingPolicy{
				Gang: &schedulingv1beta1.GangSchedulingPolicy{MinCount: workers(job)},
			},
			DisruptionMode: &schedulingv1beta1.DisruptionMode{All: &schedulingv1beta1.AllDisruptionMode{}},
		},
	}
	t := &job.Spec.Topology
	if t.Required != "" {
		g.Spec.SchedulingConstraints = &schedulingv1beta1.PodGroupSchedulingConstraints{
			Topology: []schedulingv1beta1.TopologyConstraint{{Key: v1alpha1.LevelLabel(t.Required)}}}
	}
	if len(t.Preferred) > 0 {
		var labels []string
		for _, level := range t.Preferred {
			labels = append(labels, v1alpha1.LevelLabel(level))
		}
		metav1.SetMetaDataAnnotation(&g.ObjectMeta, v1alpha1.AnnotationPreferredTopology, strings.Join(labels, ","))
	}
	return g
}

// templateOf makes each worker's claim for its devices.
func templateOf(job *v1alpha1.TrainJob, attempt int32, r device.Requirement) (*resourcev1.ResourceClaimTemplate, error) {
	devices, err := claim.Compile(r)
	if err != nil {
		return nil, err
	}
	return &resourcev1.ResourceClaimTemplate{
		ObjectMeta: meta(job, AttemptName(job.Name, attempt), attemptLabels(job, attempt)),
		Spec: resourcev1.ResourceClaimTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: attemptLabels(job, attempt)},
			Spec:       resourcev1.ResourceClaimSpec{Devices: devices},
		},
	}, nil
}

// attemptOf is the Job of one attempt. It never starts a worker again by
// itself: the first death ends it and its other pods.
func attemptOf(job *v1alpha1.TrainJob, c workload.Choice, image string, attempt int32, gang bool) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: meta(job, AttemptName(job.Name, attempt), attemptLabels(job, attempt)),
		Spec: batchv1.JobSpec{
			CompletionMode: ptr.To(batchv1.IndexedCompletion),
			Completions:    ptr.To(workers(job)),
			Parallelism:    ptr.To(workers(job)),
			BackoffLimit:   ptr.To[int32](0),
			Template:       podTemplate(job, c, image, attempt, gang),
		},
	}
}
