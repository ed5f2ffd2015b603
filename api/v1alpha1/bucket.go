package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Bucket is a bucket of the cloud's object store, which S3 and Swift clients reach by its
// name. It belongs to the tenant of its namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=bk,categories=polder
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Bucket",type=string,JSONPath=`.status.name`
// +kubebuilder:printcolumn:name="Objects",type=integer,JSONPath=`.status.objects`
// +kubebuilder:printcolumn:name="Bytes",type=integer,JSONPath=`.status.bytes`
// +kubebuilder:printcolumn:name="Jurisdiction",type=string,JSONPath=`.spec.jurisdiction`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Bucket struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   BucketSpec   `json:"spec,omitempty"`
	Status BucketStatus `json:"status,omitempty"`
}

// BucketSpec is what a bucket promises, and to whom.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) == has(oldSelf.name)",fieldPath=".name",message="name cannot be changed, because clients know the bucket by it; make another bucket instead"
// +kubebuilder:validation:XValidation:rule="has(self.jurisdiction) == has(oldSelf.jurisdiction)",fieldPath=".jurisdiction",message="jurisdiction cannot be changed; make another bucket and copy what may leave"
type BucketSpec struct {
	// Name that the tenant's clients use; empty: the object's own. Each tenant has names of
	// its own; a client that asks for one which its tenant does not have gets the bucket of
	// the tenant who took the name first, as far as that one lets it in.
	// +kubebuilder:validation:Pattern=`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="name cannot be changed, because clients know the bucket by it; make another bucket instead"
	// +optional
	Name string `json:"name,omitempty"`
	// Versioning keeps what is overwritten or deleted as an older version.
	// +optional
	Versioning bool `json:"versioning,omitempty"`
	// Durability is what an acknowledgement means. Synced: it is on the disks' stable
	// medium. Written: a power cut may take the last second.
	// +kubebuilder:validation:Enum=Synced;Written
	// +kubebuilder:default=Synced
	// +optional
	Durability BucketDurability `json:"durability,omitempty"`
	// Copies of each object, on different disks.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	// +kubebuilder:default=1
	// +optional
	Copies int32 `json:"copies,omitempty"`
	// ETag says what ETags are. MD5 is what all clients know. Any is faster to write, and
	// is for what knows that an ETag need not be a hash.
	// +kubebuilder:validation:Enum=MD5;Any
	// +kubebuilder:default=MD5
	// +optional
	ETag BucketETag `json:"etag,omitempty"`
	// Quota is the most that the bucket may hold, in bytes; 0: as much as there is room.
	// +optional
	Quota resource.Quantity `json:"quota,omitempty,omitzero"`
	// Jurisdiction whose law the data is under; empty: none is asked for.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="jurisdiction cannot be changed; make another bucket and copy what may leave"
	// +optional
	Jurisdiction string `json:"jurisdiction,omitempty"`
	// Allowed are further jurisdictions that the data may lie in.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=set
	// +optional
	Allowed []string `json:"allowed,omitempty"`
	// Tiers says when data moves to slower storage; left out: as the store does by itself.
	// +optional
	Tiers *BucketTiers `json:"tiers,omitempty"`
	// Access gives others than the tenant's own people a role in the bucket.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Access []BucketAccess `json:"access,omitempty"`
	// Deletion says what becomes of the data when the object is deleted. Keep leaves it,
	// Empty removes the bucket if nothing is in it and waits otherwise, Remove removes
	// the bucket with all that it holds.
	// +kubebuilder:validation:Enum=Keep;Empty;Remove
	// +kubebuilder:default=Empty
	// +optional
	Deletion BucketDeletion `json:"deletion,omitempty"`
}

// BucketTiers says when data moves. A client sees it by nothing but the time that a read
// takes.
type BucketTiers struct {
	// Lower names the tier that data goes to; empty: none.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Lower string `json:"lower,omitempty"`
	// Write says where data is when it is acknowledged. Home: on the store's own disks.
	// Back: there, and it is copied to the lower tier as soon as may be. Through: in both.
	// +kubebuilder:validation:Enum=Home;Back;Through
	// +kubebuilder:default=Home
	// +optional
	Write BucketWrite `json:"write,omitempty"`
	// DemoteAfterSeconds is how long an object may be unused before its data leaves the
	// store's own disks; 0: until these get full.
	// +kubebuilder:validation:Minimum=0
	// +optional
	DemoteAfterSeconds int64 `json:"demoteAfterSeconds,omitempty"`
	// DemoteBytesMin keeps smaller objects on the store's own disks.
	// +kubebuilder:validation:Minimum=0
	// +optional
	DemoteBytesMin int64 `json:"demoteBytesMin,omitempty"`
	// Pinned are prefixes of keys whose data never leaves the store's own disks.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=1024
	// +listType=set
	// +optional
	Pinned []string `json:"pinned,omitempty"`
	// NoMemory keeps the bucket's data out of the store's memory.
	// +optional
	NoMemory bool `json:"noMemory,omitempty"`
}

// BucketWrite says where data is when it is acknowledged.
type BucketWrite string

// Where it is.
const (
	BucketWriteHome    BucketWrite = "Home"
	BucketWriteBack    BucketWrite = "Back"
	BucketWriteThrough BucketWrite = "Through"
)

// BucketDurability is what an acknowledgement means.
type BucketDurability string

// The durabilities.
const (
	BucketSynced  BucketDurability = "Synced"
	BucketWritten BucketDurability = "Written"
)

// BucketETag says what ETags are.
type BucketETag string

// The kinds of ETags.
const (
	BucketETagMD5 BucketETag = "MD5"
	BucketETagAny BucketETag = "Any"
)

// BucketDeletion says what becomes of the data.
type BucketDeletion string

// What becomes of it.
const (
	BucketKeep   BucketDeletion = "Keep"
	BucketEmpty  BucketDeletion = "Empty"
	BucketRemove BucketDeletion = "Remove"
)

// BucketAccess gives a role.
type BucketAccess struct {
	// Tenant whose identities get it: a tenant's name, or that of a namespace without the
	// label polder.dev/tenant. "*" is everybody, also without a signature.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Tenant string `json:"tenant"`
	// User of the tenant; empty: all of them.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	User string `json:"user,omitempty"`
	// Role: Reader lists and reads, Writer also writes and deletes objects.
	// +kubebuilder:validation:Enum=Reader;Writer
	Role BucketRole `json:"role"`
	// Prefix of the keys that it is given for; empty: all.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Prefix string `json:"prefix,omitempty"`
}

// BucketRole is what somebody may do.
type BucketRole string

// The roles.
const (
	BucketReader BucketRole = "Reader"
	BucketWriter BucketRole = "Writer"
)

// BucketStatus is what is known of a bucket.
type BucketStatus struct {
	// Name that clients use.
	// +optional
	Name string `json:"name,omitempty"`
	// Endpoint where it is reached from pods.
	// +optional
	Endpoint string `json:"endpoint,omitempty"`
	// Objects and Bytes of current versions, looked at once a minute.
	// +optional
	Objects int64 `json:"objects,omitempty"`
	// +optional
	Bytes int64 `json:"bytes,omitempty"`
	// OlderBytes are those of versions that were overwritten or deleted, and of unfinished
	// uploads.
	// +optional
	OlderBytes int64 `json:"olderBytes,omitempty"`
	// Conditions: Ready.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BucketList is a list of buckets.
//
// +kubebuilder:object:root=true
type BucketList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Bucket `json:"items"`
}
