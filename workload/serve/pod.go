package serve

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/device"
	"polder.dev/polder/device/claim"
	"polder.dev/polder/workload"
)

// Where a replica finds things; docs/howto/serving.md promises them.
const (
	dirModel    = "/polder/model"
	volumeModel = "model"
	volumeTmp   = "tmp"
	portName    = "http"
)

const (
	// uid of a replica's processes, and their group.
	uid = 65532
	// graceSecondsMax bounds how long a replica may take to answer what it has when it
	// is told to end.
	graceSecondsMax = 300
	// probeSeconds is the time between the kubelet's questions whether a replica is ready,
	// and probeFailures how many it may fail to answer in a row.
	probeSeconds  = 1
	probeFailures = 3
)

// objectsOf are what a revision is made of: the template of its replicas' claims, if they
// have any, and the ReplicaSet.
func objectsOf(svc *v1alpha1.InferenceService, t *target, c workload.Choice, replicas int32) []client.Object {
	var out []client.Object
	if c.Claim != nil {
		template, err := templateOf(svc, t, *c.Claim)
		if err != nil {
			return nil // invalid has compiled it
		}
		out = append(out, template)
	}
	labels := revisionLabels(svc.Name, t.name)
	return append(out, &appsv1.ReplicaSet{
		ObjectMeta: meta(svc, t),
		Spec: appsv1.ReplicaSetSpec{
			Replicas: ptr.To(replicas),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.LabelService: svc.Name, v1alpha1.LabelRevision: t.name}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podOf(svc, t, c)},
		},
	})
}

// meta of an object that the service owns and that goes when the service goes.
func meta(svc *v1alpha1.InferenceService, t *target) metav1.ObjectMeta {
	owner := metav1.NewControllerRef(svc, v1alpha1.GroupVersion.WithKind("InferenceService"))
	return metav1.ObjectMeta{
		Name: t.name, Namespace: svc.Namespace, Labels: revisionLabels(svc.Name, t.name), OwnerReferences: []metav1.OwnerReference{*owner},
	}
}

// templateOf makes each replica's claim for its devices.
func templateOf(svc *v1alpha1.InferenceService, t *target, r device.Requirement) (*resourcev1.ResourceClaimTemplate, error) {
	devices, err := claim.Compile(r)
	if err != nil {
		return nil, err
	}
	return &resourcev1.ResourceClaimTemplate{
		ObjectMeta: meta(svc, t),
		Spec: resourcev1.ResourceClaimTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: revisionLabels(svc.Name, t.name)},
			Spec:       resourcev1.ResourceClaimSpec{Devices: devices},
		},
	}, nil
}

// withTemplate is a ReplicaSet, behind the template of its claims if it has one.
func withTemplate(set *appsv1.ReplicaSet) []client.Object {
	if len(set.Spec.Template.Spec.ResourceClaims) == 0 {
		return []client.Object{set}
	}
	return []client.Object{&resourcev1.ResourceClaimTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: set.Namespace, Name: set.Name}}, set}
}

// podOf is a replica of a revision.
func podOf(svc *v1alpha1.InferenceService, t *target, c workload.Choice) corev1.PodSpec {
	spec := corev1.PodSpec{
		TerminationGracePeriodSeconds: ptr.To(int64(min(timeout(svc), graceSecondsMax))),
		AutomountServiceAccountToken:  ptr.To(false),
		EnableServiceLinks:            ptr.To(false),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:        ptr.To(true),
			RunAsUser:           ptr.To[int64](uid),
			RunAsGroup:          ptr.To[int64](uid),
			FSGroup:             ptr.To[int64](uid),
			FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch),
			SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Volumes:    []corev1.Volume{{Name: volumeTmp, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		Containers: []corev1.Container{containerOf(svc, t, c)},
	}
	if t.model != nil {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volumeModel, VolumeSource: corev1.VolumeSource{
			// act puts the image with the model's files in its place.
			Image: &corev1.ImageVolumeSource{Reference: workload.Reference(t.model.Reference, t.model.Digest), PullPolicy: corev1.PullIfNotPresent},
		}})
	}
	if c.Claim != nil {
		spec.ResourceClaims = []corev1.PodResourceClaim{{Name: claim.Request, ResourceClaimTemplateName: ptr.To(t.name)}}
		// The devices asked for may be emulated ones: where those are, nothing else is.
		spec.Tolerations = []corev1.Toleration{{Key: v1alpha1.LabelEmulated, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}}
	}
	if c.Variant.Sandbox != "" {
		spec.RuntimeClassName = ptr.To(c.Variant.Sandbox)
	}
	return spec
}

func containerOf(svc *v1alpha1.InferenceService, t *target, c workload.Choice) corev1.Container {
	mounts := []corev1.VolumeMount{{Name: volumeTmp, MountPath: "/tmp"}}
	if t.model != nil {
		mounts = append(mounts, corev1.VolumeMount{Name: volumeModel, MountPath: dirModel, ReadOnly: true})
	}
	return corev1.Container{
		Name:         Container,
		Image:        workload.Reference(c.Variant.Image, c.Variant.Digest),
		Command:      svc.Spec.Command,
		Env:          envOf(svc, t, c),
		Ports:        []corev1.ContainerPort{{Name: portName, ContainerPort: port(svc)}},
		Resources:    workload.Resources(svc.Spec.Resources, svc.Spec.Accelerators.Count, c),
		VolumeMounts: mounts,
		ReadinessProbe: &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: readyPath(svc), Port: intstr.FromString(portName)}},
			PeriodSeconds: probeSeconds, TimeoutSeconds: probeSeconds, FailureThreshold: probeFailures,
		},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			RunAsNonRoot:             ptr.To(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
}

// envOf are the variables of a replica: the variant's, then the service's, then the
// cloud's, which win because the last of two equal names does.
func envOf(svc *v1alpha1.InferenceService, t *target, c workload.Choice) []corev1.EnvVar {
	threads := strconv.FormatInt(workload.Threads(svc.Spec.Resources), 10)
	e := []corev1.EnvVar{{Name: "HOME", Value: "/tmp"}, {Name: "OMP_NUM_THREADS", Value: threads}}
	e = append(append(e, c.Variant.Env...), svc.Spec.Env...)
	set := func(name, value string) { e = append(e, corev1.EnvVar{Name: name, Value: value}) }
	set("PORT", strconv.Itoa(int(port(svc))))
	set("POLDER_SERVICE", svc.Name)
	set("POLDER_NAMESPACE", svc.Namespace)
	set("POLDER_REVISION", t.name)
	set("POLDER_THREADS", threads)
	set("POLDER_MODEL_NAME", svc.Name) // what clients call it
	if t.model != nil {
		set("POLDER_MODEL_DIR", dirModel)
		set("POLDER_MODEL", t.model.Name)
		set("POLDER_MODEL_DIGEST", t.model.Digest)
	}
	if b := svc.Spec.Batch; b != nil {
		set("POLDER_BATCH_MAX", strconv.Itoa(int(b.Max)))
		set("POLDER_BATCH_DELAY_MICROSECONDS", strconv.Itoa(int(b.DelayMicroseconds)))
	}
	return e
}
