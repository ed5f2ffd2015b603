package workload

import (
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/storage/dataset"
)

// EnvSources tells the container that copies from the object store what to copy where.
const EnvSources = "POLDER_SOURCES"

// Where a pod finds what it needs to speak to the store.
const (
	VolumeStore = "store"
	dirStore    = "/polder/store"
)

// StoreEnv is how the tools of the field find the store.
func StoreEnv() []corev1.EnvVar {
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

// StoreVolume holds the authority by which the store is known, and StoreMount is where a
// container has it.
func StoreVolume() corev1.Volume {
	return corev1.Volume{Name: VolumeStore, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: v1alpha1.StoreJobSecret, Items: []corev1.KeyToPath{{Key: v1alpha1.StoreCA, Path: v1alpha1.StoreCA}},
	}}}
}

// StoreMount is where a container has StoreVolume.
func StoreMount() corev1.VolumeMount {
	return corev1.VolumeMount{Name: VolumeStore, MountPath: dirStore, ReadOnly: true}
}

// CopierResources of a container that copies between the store and a pod.
func CopierResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
	}
}

// SourcesEnv tells the copying container of these. The kubelet expands $(NAME) in values;
// a key means itself.
func SourcesEnv(list []dataset.Source) corev1.EnvVar {
	return corev1.EnvVar{Name: EnvSources, Value: strings.ReplaceAll(dataset.EncodeSources(list), "$", "$$")}
}

// SourceOf is what is copied of a data set that is frozen.
func SourceOf(set *v1alpha1.Dataset, dir string) dataset.Source {
	return dataset.Source{Dir: dir, Bucket: set.Spec.Bucket, Prefix: set.Spec.Prefix, Manifest: set.Status.Manifest, Digest: set.Status.Digest}
}

// Unfrozen says why a data set that a field names cannot be copied yet; "" if it can. Set
// is nil where there is none of the name.
func Unfrozen(field, namespace, name string, set *v1alpha1.Dataset) string {
	if set == nil {
		return fmt.Sprintf("%s: there is no Dataset %s in namespace %s; `polder dataset freeze` makes one", field, name, namespace)
	}
	if c := apimeta.FindStatusCondition(set.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Status != "True" {
		why := "it is being frozen"
		if c != nil {
			why = c.Message
		}
		return fmt.Sprintf("%s: Dataset %s is not ready: %s", field, name, why)
	}
	return ""
}
