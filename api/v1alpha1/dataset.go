package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Dataset is what lay below a prefix of a bucket at one moment: a manifest of keys,
// versions and hashes, named by its own digest. What a job reads by it is that, or an
// error, whatever becomes of the bucket.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=ds,categories=polder
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Bucket",type=string,JSONPath=`.spec.bucket`
// +kubebuilder:printcolumn:name="Prefix",type=string,JSONPath=`.spec.prefix`
// +kubebuilder:printcolumn:name="Objects",type=integer,JSONPath=`.status.objects`
// +kubebuilder:printcolumn:name="Bytes",type=integer,JSONPath=`.status.bytes`
// +kubebuilder:printcolumn:name="Digest",type=string,JSONPath=`.status.digest`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Dataset struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   DatasetSpec   `json:"spec"`
	Status DatasetStatus `json:"status,omitempty"`
}

// DatasetSpec says what is frozen. It cannot be changed, but for warm: another state is
// another Dataset.
//
// +kubebuilder:validation:XValidation:rule="self.bucket == oldSelf.bucket && has(self.prefix) == has(oldSelf.prefix) && (!has(self.prefix) || self.prefix == oldSelf.prefix) && has(self.classification) == has(oldSelf.classification) && (!has(self.classification) || self.classification == oldSelf.classification)",message="spec is immutable, but for warm: what is frozen stays as it is; make another Dataset"
type DatasetSpec struct {
	// Bucket by the name that clients use. The tenant needs a role in it.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=63
	Bucket string `json:"bucket"`
	// Prefix of the keys; empty: all of the bucket. Files are named by what follows it.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Prefix string `json:"prefix,omitempty"`
	// Classification of the data, in the organisation's own words.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Classification string `json:"classification,omitempty"`
	// Warm keeps the data in the store's fastest tier, so that a job does not wait for it.
	// +optional
	Warm bool `json:"warm,omitempty"`
}

// DatasetStatus is what was found.
type DatasetStatus struct {
	// Digest of the manifest: sha256 and 64 hexadecimal digits.
	// +optional
	Digest string `json:"digest,omitempty"`
	// Manifest is the key of the manifest in the bucket.
	// +optional
	Manifest string `json:"manifest,omitempty"`
	// Objects and Bytes that it names.
	// +optional
	Objects int64 `json:"objects,omitempty"`
	// +optional
	Bytes int64 `json:"bytes,omitempty"`
	// Warmed is how many of the bytes are in the fastest tier, while spec.warm asks for it.
	// +optional
	Warmed int64 `json:"warmed,omitempty"`
	// Jurisdiction that the store is in.
	// +optional
	Jurisdiction string `json:"jurisdiction,omitempty"`
	// Pinned says that the manifest names versions, which stay when the objects are
	// overwritten. Without it, a job that finds an object changed fails.
	// +optional
	Pinned bool `json:"pinned,omitempty"`
	// Conditions: Ready.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DatasetList is a list of data sets.
//
// +kubebuilder:object:root=true
type DatasetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Dataset `json:"items"`
}
