package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Model is a trained model: an OCI artifact, by digest, and where it came from. Its spec
// is the version that was published last; status has the others, and the aliases, which
// are names of versions that services follow.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,categories=polder
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Digest",type=string,JSONPath=`.spec.digest`
// +kubebuilder:printcolumn:name="Size",type=integer,JSONPath=`.spec.sizeBytes`
// +kubebuilder:printcolumn:name="Job",type=string,JSONPath=`.spec.lineage.job`
// +kubebuilder:printcolumn:name="Aliases",type=string,JSONPath=`.status.aliases[*].name`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Model struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ModelSpec   `json:"spec"`
	Status ModelStatus `json:"status,omitempty"`
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
	// Classification of the data that it was made of, in the organisation's own words.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Classification string `json:"classification,omitempty"`
	// Lineage: everything that went in, by digest.
	// +optional
	Lineage Lineage `json:"lineage,omitempty"`
	// Aliases that are wanted: persons write them, status says what holds.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	Aliases []ModelAlias `json:"aliases,omitempty"`
	// Gates that a version has to pass before an alias may mean it.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=alias
	// +optional
	Gates []ModelGate `json:"gates,omitempty"`
}

// ModelAlias is a name for a version: NAME@ALIAS.
type ModelAlias struct {
	// Name, such as staging or production.
	// +kubebuilder:validation:Pattern=`^[a-z][-a-z0-9]{0,31}$`
	Name string `json:"name"`
	// Digest of the version that it is to mean.
	// +kubebuilder:validation:Pattern=`^sha256:[a-f0-9]{64}$`
	Digest string `json:"digest"`
	// Reason, for the history.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Reason string `json:"reason,omitempty"`
}

// ModelGate says what an alias asks of a version.
type ModelGate struct {
	// Alias by name.
	// +kubebuilder:validation:Pattern=`^[a-z][-a-z0-9]{0,31}$`
	Alias string `json:"alias"`
	// Evaluation asks for one of the namespace that has passed with the version as its
	// candidate.
	// +optional
	Evaluation bool `json:"evaluation,omitempty"`
	// Against asks that this evaluation compared the version with the one that the alias
	// means now, where there is one.
	// +optional
	Against bool `json:"against,omitempty"`
	// Licences that will do, as SPDX expressions; empty: any.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=128
	// +listType=set
	// +optional
	Licences []string `json:"licences,omitempty"`
}

// ModelStatus is written by the controller of Models.
type ModelStatus struct {
	// Versions that were published, the newest first: the latest 64, and those that an
	// alias means or has meant lately.
	// +listType=map
	// +listMapKey=digest
	// +optional
	Versions []ModelVersion `json:"versions,omitempty"`
	// Aliases that hold.
	// +listType=map
	// +listMapKey=name
	// +optional
	Aliases []ModelAliasStatus `json:"aliases,omitempty"`
	// Conditions: Promoted is False while an alias that is wanted does not hold, and says
	// why; Removed says why a Model that is to go is still there.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ConditionPromoted: every alias that is wanted holds.
const ConditionPromoted = "Promoted"

// ConditionRemoved, of a Model that is to go: False while work uses it, Unknown while the
// registry does not remove its artifacts. Its message says who uses it, or why.
const ConditionRemoved = "Removed"

// ModelVersion is what the spec was when the version was published.
type ModelVersion struct {
	Digest    string `json:"digest"`
	Reference string `json:"reference"`
	SizeBytes int64  `json:"sizeBytes"`
	// +optional
	Framework string `json:"framework,omitempty"`
	// +optional
	Licence string `json:"licence,omitempty"`
	// +optional
	Metrics map[string]string `json:"metrics,omitempty"`
	// Job that made it, if one did.
	// +optional
	Job string `json:"job,omitempty"`
	// Time when it was seen first.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`
}

// ModelAliasStatus is what an alias means, and has meant.
type ModelAliasStatus struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	// Since when.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// Evaluation that let it through the gate.
	// +optional
	Evaluation string `json:"evaluation,omitempty"`
	// +optional
	Reason string `json:"reason,omitempty"`
	// History: what it meant before, the latest first, at most 32.
	// +listType=atomic
	// +optional
	History []ModelAliasPast `json:"history,omitempty"`
}

// ModelAliasPast is what an alias meant for a time.
type ModelAliasPast struct {
	Digest string `json:"digest"`
	// +optional
	From *metav1.Time `json:"from,omitempty"`
	// +optional
	To *metav1.Time `json:"to,omitempty"`
	// +optional
	Evaluation string `json:"evaluation,omitempty"`
	// +optional
	Reason string `json:"reason,omitempty"`
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
	// Parents that it was made of, by what they were for (teacher, from), as digests.
	// +optional
	Parents map[string]string `json:"parents,omitempty"`
	// Source says where it was imported from, if it was, and by whom. What an imported
	// model's files say of themselves is not lineage.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Source string `json:"source,omitempty"`
}

// ModelList is a list of Models.
//
// +kubebuilder:object:root=true
type ModelList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Model `json:"items"`
}
