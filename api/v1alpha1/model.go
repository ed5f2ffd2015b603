package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Model is a trained model: an OCI artifact, by digest, and where it came from.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,categories=polder
// +kubebuilder:printcolumn:name="Digest",type=string,JSONPath=`.spec.digest`
// +kubebuilder:printcolumn:name="Size",type=integer,JSONPath=`.spec.sizeBytes`
// +kubebuilder:printcolumn:name="Job",type=string,JSONPath=`.spec.lineage.job`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Model struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ModelSpec `json:"spec"`
}

// ModelSpec says which artifact, and its lineage.
type ModelSpec struct {
	// Reference to pull it by, with digest: "models/NAMESPACE/NAME@sha256:...",
	// in the cloud's own registry.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Reference string `json:"reference"`
	// Digest of the manifest.
	// +kubebuilder:validation:Pattern=`^sha256:[a-f0-9]{64}$`
	Digest string `json:"digest"`
	// SizeBytes of all layers.
	// +kubebuilder:validation:Minimum=0
	SizeBytes int64 `json:"sizeBytes"`
	// Framework the weights are for, for example pytorch 1.13.1.
	// +optional
	Framework string `json:"framework,omitempty"`
	// Licence as an SPDX expression.
	// +optional
	Licence string `json:"licence,omitempty"`
	// Metrics at the end of training, by name, in decimal notation.
	// +optional
	Metrics map[string]string `json:"metrics,omitempty"`
	// Lineage: everything that went in, by digest.
	// +optional
	Lineage Lineage `json:"lineage,omitempty"`
}

// Lineage says what a model was made of.
type Lineage struct {
	// Job that made it.
	// +optional
	Job string `json:"job,omitempty"`
	// JobUID tells that job from an earlier one of the same name.
	// +optional
	JobUID string `json:"jobUID,omitempty"`
	// Runtime by name.
	// +optional
	Runtime string `json:"runtime,omitempty"`
	// RuntimeDigest is the digest of the image the workers ran.
	// +optional
	RuntimeDigest string `json:"runtimeDigest,omitempty"`
	// CodeDigest of the code image.
	// +optional
	CodeDigest string `json:"codeDigest,omitempty"`
	// Data digests by data set name.
	// +optional
	Data map[string]string `json:"data,omitempty"`
	// Parameters of the run.
	// +optional
	Parameters map[string]string `json:"parameters,omitempty"`
	// Workers that trained together.
	// +optional
	Workers int32 `json:"workers,omitempty"`
	// Restarts on the way.
	// +optional
	Restarts int32 `json:"restarts,omitempty"`
}

// ModelList is a list of Models.
//
// +kubebuilder:object:root=true
type ModelList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Model `json:"items"`
}
