package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Queue holds work back until its share of the cloud is free. Queues form a forest:
// what a queue does not use is lent to those beside it, level by level, and work waits
// in the queues that have none below them.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=qu,categories=polder
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Parent",type=string,JSONPath=`.spec.parent`
// +kubebuilder:printcolumn:name="Weight",type=integer,JSONPath=`.spec.weight`
// +kubebuilder:printcolumn:name="Pending",type=integer,JSONPath=`.status.pending`
// +kubebuilder:printcolumn:name="Admitted",type=integer,JSONPath=`.status.admitted`
// +kubebuilder:printcolumn:name="Share",type=string,JSONPath=`.status.share`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="metadata.name must be at most 63 characters, because jobs name it; choose a shorter name"
type Queue struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   QueueSpec   `json:"spec"`
	Status QueueStatus `json:"status,omitempty"`
}

// QueueSpec is what a queue has, and who may use it.
type QueueSpec struct {
	// Parent is the queue above it; empty: it is a root, and borrows from nobody.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`
	// +optional
	Parent string `json:"parent,omitempty"`
	// Weight of its share beside those of its neighbours.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	// +kubebuilder:default=1
	// +optional
	Weight int32 `json:"weight,omitempty"`
	// Namespaces whose jobs may wait in it; "*" is all of them. Empty: those of the
	// queue above it, and of a root none.
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=set
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`
	// Quotas, one line for each thing that is counted. An accelerator that no line of
	// the queue or of those above it counts cannot be had in it.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Quotas []QueueQuota `json:"quotas,omitempty"`
	// Preempt says which work may be ended for the queue's.
	// +optional
	Preempt QueuePreempt `json:"preempt,omitempty,omitzero"`
	// HalfLifeSeconds is the time after which past use counts half in the share; 0:
	// what the queue above it has, and for a root 604800, a week.
	// +kubebuilder:validation:Minimum=0
	// +optional
	HalfLifeSeconds int64 `json:"halfLifeSeconds,omitempty"`
	// PatienceSeconds is how long the first of the queue lets others pass for which
	// there is room; then room is kept for it. 0: what the queue above it has, and for
	// a root 600.
	// +kubebuilder:validation:Minimum=0
	// +optional
	PatienceSeconds int64 `json:"patienceSeconds,omitempty"`
	// Speeds say how much one device of a product counts in shares, for the whole
	// cloud; what is not named counts 1. Only roots may have them.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=product
	// +optional
	Speeds []QueueSpeed `json:"speeds,omitempty"`
}

// QueueQuota is what a queue has of one thing.
//
// +kubebuilder:validation:XValidation:rule="!has(self.resource) || !(has(self.kind) || has(self.product) || has(self.memoryMin))",message="resource cannot stand beside kind, product or memoryMin: write two lines"
// +kubebuilder:validation:XValidation:rule="!string(self.nominal).startsWith('-')",fieldPath=".nominal",message="nominal must not be below zero: write 0 for a queue that only borrows"
// +kubebuilder:validation:XValidation:rule="!has(self.borrowMax) || !string(self.borrowMax).startsWith('-')",fieldPath=".borrowMax",message="borrowMax must not be below zero: write 0 for a queue that borrows nothing"
// +kubebuilder:validation:XValidation:rule="!has(self.lendMax) || !string(self.lendMax).startsWith('-')",fieldPath=".lendMax",message="lendMax must not be below zero: write 0 for a queue that lends nothing"
type QueueQuota struct {
	// Resource that is counted: cpu or memory. Empty: accelerators.
	// +kubebuilder:validation:Enum=cpu;memory
	// +optional
	Resource string `json:"resource,omitempty"`
	// Kind of accelerator; empty: any.
	// +kubebuilder:validation:Enum=gpu;npu;tpu;dpu;fpga;vpu;cpu
	// +optional
	Kind string `json:"kind,omitempty"`
	// Product of that name, as `polder devices` shows it; empty: any.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Product string `json:"product,omitempty"`
	// MemoryMin is the least memory of a device, in bytes; empty: any.
	// +optional
	MemoryMin *resource.Quantity `json:"memoryMin,omitempty"`
	// Nominal is the queue's own. Devices may be fractions: 500m is half of one.
	Nominal resource.Quantity `json:"nominal"`
	// BorrowMax is how much more it may use of what others leave; empty: all of it.
	// With 0 a line is a limit.
	// +optional
	BorrowMax *resource.Quantity `json:"borrowMax,omitempty"`
	// LendMax is how much of its own others may use; empty: all of it.
	// +optional
	LendMax *resource.Quantity `json:"lendMax,omitempty"`
}

// QueuePreempt says of what priority work may be that is ended for the queue's.
type QueuePreempt struct {
	// Within the queue itself: Never or LowerPriority.
	// +kubebuilder:validation:Enum=Never;LowerPriority
	// +kubebuilder:default=LowerPriority
	// +optional
	Within string `json:"within,omitempty"`
	// Reclaim of what others have borrowed: Never, LowerPriority or Any.
	// +kubebuilder:validation:Enum=Never;LowerPriority;Any
	// +kubebuilder:default=Any
	// +optional
	Reclaim string `json:"reclaim,omitempty"`
	// Fair says whether also what the queue borrows may take the place of what others
	// have borrowed, as long as their share stays no smaller than the queue's becomes:
	// Never, LowerPriority or Any.
	// +kubebuilder:validation:Enum=Never;LowerPriority;Any
	// +kubebuilder:default=Never
	// +optional
	Fair string `json:"fair,omitempty"`
}

// QueueSpeed is how much one device of a product counts.
type QueueSpeed struct {
	// Product as `polder devices` shows it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Product string `json:"product"`
	// Speed of one device, in comparison with others: "2.5".
	// +kubebuilder:validation:Pattern=`^[0-9]{1,4}(\.[0-9]{1,3})?$`
	// +kubebuilder:validation:MaxLength=8
	Speed string `json:"speed"`
}

// QueueStatus is how a queue stands.
type QueueStatus struct {
	// Conditions: Ready is True when work can be admitted by it.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Pending jobs in it and below it.
	// +optional
	Pending int32 `json:"pending,omitempty"`
	// Admitted jobs in it and below it.
	// +optional
	Admitted int32 `json:"admitted,omitempty"`
	// Share of the cloud that it uses now, of what it uses most of, divided by its
	// weight; in decimal notation.
	// +optional
	Share string `json:"share,omitempty"`
	// Past is the share that it had until PastTime, halved every half-life.
	// +optional
	Past string `json:"past,omitempty"`
	// PastTime is when Past was worked out.
	// +optional
	PastTime *metav1.Time `json:"pastTime,omitempty"`
	// Usage of what is limited, in words and in decimal notation.
	// +listType=atomic
	// +optional
	Usage []QueueUsage `json:"usage,omitempty"`
}

// QueueUsage is what a queue uses of one thing: devices, processors, or GiB of memory.
type QueueUsage struct {
	// Of what, as the quota says it: "GPUs with at least 80 GiB".
	Of string `json:"of"`
	// Nominal is its own.
	Nominal string `json:"nominal"`
	// Used of it, by the queue and those below it.
	Used string `json:"used"`
	// Borrowed is what is used beyond the nominal.
	// +optional
	Borrowed string `json:"borrowed,omitempty"`
}

// QueueList is a list of Queues.
//
// +kubebuilder:object:root=true
type QueueList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Queue `json:"items"`
}
