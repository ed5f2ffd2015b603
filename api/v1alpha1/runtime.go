package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Runtime is a framework at a version, with one variant per software stack.
// A job names the Runtime; the variant is picked by the hardware it lands on.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=rt,categories=polder
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Framework",type=string,JSONPath=`.spec.framework`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.spec.version`
// +kubebuilder:printcolumn:name="Software",type=string,JSONPath=`.spec.variants[*].software`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Runtime struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   RuntimeSpec   `json:"spec"`
	Status RuntimeStatus `json:"status,omitempty"`
}

// RuntimeSpec is what the Runtime's author promises.
type RuntimeSpec struct {
	// Framework is the framework's common name, for example pytorch.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Framework string `json:"framework"`
	// Version of the framework, for example 1.13.1.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Version string `json:"version"`
	// Variants, at most one per software stack.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=software
	Variants []RuntimeVariant `json:"variants"`
}

// RuntimeVariant is the image for one software stack.
type RuntimeVariant struct {
	// Software stack: cpu, cuda, rocm, cann, musa, neuron, xla.
	// +kubebuilder:validation:Pattern=`^[a-z][a-z0-9-]{0,31}$`
	Software string `json:"software"`
	// Image reference. A name without a registry host ("runtimes/pytorch-cpu")
	// means the cloud's own registry.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image"`
	// Digest pins the image; `polder runtime build` writes it.
	// +kubebuilder:validation:Pattern=`^sha256:[a-f0-9]{64}$`
	// +optional
	Digest string `json:"digest,omitempty"`
	// Env is set in every worker, before the job's own.
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Env []corev1.EnvVar `json:"env,omitempty"`
	// Sandbox is the RuntimeClass this variant needs; empty: the namespace's.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Sandbox string `json:"sandbox,omitempty"`
}

// RuntimeStatus is what the cloud found.
type RuntimeStatus struct {
	// Conditions: Ready is True when at least one variant's image can be used
	// on some node.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RuntimeList is a list of Runtimes.
//
// +kubebuilder:object:root=true
type RuntimeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Runtime `json:"items"`
}
