package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TrainJob runs code on a number of workers until it ends, keeps checkpoints on
// a volume, and turns the output directory into a Model.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=tj,categories=polder
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Workers",type=integer,JSONPath=`.spec.workers`
// +kubebuilder:printcolumn:name="Epoch",type=string,JSONPath=`.status.progress.epoch`
// +kubebuilder:printcolumn:name="Loss",type=string,JSONPath=`.status.progress.loss`
// +kubebuilder:printcolumn:name="Software",type=string,JSONPath=`.status.software`
// +kubebuilder:printcolumn:name="Devices",type=string,priority=1,JSONPath=`.status.devices`
// +kubebuilder:printcolumn:name="Restarts",type=integer,JSONPath=`.status.restarts`
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.status.model.name`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 52",message="metadata.name must be at most 52 characters, because pods are named after it; choose a shorter name"
type TrainJob struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   TrainJobSpec   `json:"spec"`
	Status TrainJobStatus `json:"status,omitempty"`
}

// TrainJobSpec is what to run. It cannot be changed once written, but for
// cancel, deadline, retries and move: a changed job is another job. What a field is, is
// compared at the field, and here only whether it is there: each look at a field from
// here costs the API server as much as the comparison, with every write of a status.
//
// +kubebuilder:validation:XValidation:rule="has(self.workers) == has(oldSelf.workers)",fieldPath=".workers",message="spec is immutable: workers cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
// +kubebuilder:validation:XValidation:rule="has(self.parameters) == has(oldSelf.parameters)",fieldPath=".parameters",message="spec is immutable: parameters cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
// +kubebuilder:validation:XValidation:rule="has(self.env) == has(oldSelf.env)",fieldPath=".env",message="spec is immutable: env cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
// +kubebuilder:validation:XValidation:rule="has(self.data) == has(oldSelf.data)",fieldPath=".data",message="spec is immutable: data cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
// +kubebuilder:validation:XValidation:rule="has(self.resources) == has(oldSelf.resources)",fieldPath=".resources",message="spec is immutable: resources cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
// +kubebuilder:validation:XValidation:rule="has(self.accelerators) == has(oldSelf.accelerators)",fieldPath=".accelerators",message="spec is immutable: accelerators cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
// +kubebuilder:validation:XValidation:rule="has(self.topology) == has(oldSelf.topology)",fieldPath=".topology",message="spec is immutable: topology cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
// +kubebuilder:validation:XValidation:rule="has(self.checkpoints) == has(oldSelf.checkpoints)",fieldPath=".checkpoints",message="spec is immutable: checkpoints cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
// +kubebuilder:validation:XValidation:rule="has(self.output) == has(oldSelf.output)",fieldPath=".output",message="spec is immutable: output cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
// +kubebuilder:validation:XValidation:rule="has(self.keepSeconds) == has(oldSelf.keepSeconds)",fieldPath=".keepSeconds",message="spec is immutable: keepSeconds cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
// +kubebuilder:validation:XValidation:rule="has(self.queue) == has(oldSelf.queue)",fieldPath=".queue",message="spec is immutable: queue cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
// +kubebuilder:validation:XValidation:rule="has(self.priority) == has(oldSelf.priority)",fieldPath=".priority",message="spec is immutable: priority cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
type TrainJobSpec struct {
	// Runtime names the Runtime to run on.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: runtime cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
	Runtime string `json:"runtime"`
	// Code to run; mounted read-only at /polder/code, the working directory.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: code cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
	Code Code `json:"code"`
	// Command and its arguments, run in /polder/code on every worker.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: command cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
	Command []string `json:"command"`
	// Parameters of the run. Each is passed as the environment variable
	// POLDER_PARAM_<NAME in upper case> and recorded in the model's lineage.
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: parameters cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
	// +optional
	Parameters map[string]string `json:"parameters,omitempty"`
	// Env adds environment variables to every worker.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: env cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
	// +optional
	Env []corev1.EnvVar `json:"env,omitempty"`
	// Data sets, each mounted read-only at /polder/data/<name>.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: data cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
	// +optional
	Data []DataSource `json:"data,omitempty"`
	// Workers is the number of pods that train together.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	// +kubebuilder:default=1
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: workers cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
	// +optional
	Workers int32 `json:"workers,omitempty"`
	// Resources of each worker.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: resources cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
	// +optional
	Resources WorkerResources `json:"resources,omitempty,omitzero"`
	// Accelerators of each worker.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: accelerators cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
	// +optional
	Accelerators Accelerators `json:"accelerators,omitempty,omitzero"`
	// Topology says how near to each other the workers are.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: topology cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
	// +optional
	Topology Topology `json:"topology,omitempty,omitzero"`
	// Checkpoints says where and how many; the volume holds the output too.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: checkpoints cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
	// +optional
	Checkpoints Checkpoints `json:"checkpoints,omitempty,omitzero"`
	// Output says what becomes of /polder/output.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: output cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
	// +optional
	Output Output `json:"output,omitempty,omitzero"`
	// DeadlineSeconds ends the job, failed, this long after it was created, without the
	// time that it waited in a queue. 0: no deadline.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:default=86400
	// +optional
	DeadlineSeconds int64 `json:"deadlineSeconds,omitempty"`
	// Retries is how often all workers are started again, from the latest
	// checkpoint, after one of them died.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +kubebuilder:default=3
	// +optional
	Retries *int32 `json:"retries,omitempty"`
	// KeepSeconds is how long pods and the volume are kept after the end.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:default=3600
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: keepSeconds cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
	// +optional
	KeepSeconds *int64 `json:"keepSeconds,omitempty"`
	// Queue that the job waits in until there is room for it. Empty: the one that the
	// namespace's label polder.dev/queue names, and without one the job does not wait.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: queue cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
	// +optional
	Queue string `json:"queue,omitempty"`
	// Priority in its queue: those of higher priority are looked at first, and may end
	// those of lower priority where the queue says so.
	// +kubebuilder:validation:Minimum=-1000
	// +kubebuilder:validation:Maximum=1000
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: priority cannot be changed, only cancel, deadlineSeconds, retries and move can: submit a new job instead"
	// +optional
	Priority int32 `json:"priority,omitempty"`
	// Cancel ends the job; `polder cancel` sets it.
	// +optional
	Cancel bool `json:"cancel,omitempty"`
	// Move asks the running job to go on elsewhere, once; `polder defrag --apply` sets it.
	// status.move says what became of it.
	// +optional
	Move *Move `json:"move,omitempty"`
}

// Move asks a job that runs to stop at a checkpoint and to start again from it on other
// nodes. If these have no room for it then, it goes on wherever it fits.
type Move struct {
	// Asked is when the move was asked for, and tells it from others of the job.
	Asked metav1.Time `json:"asked"`
	// Restarts is status.restarts of what is to be moved: a job that has been started
	// again since is not moved.
	// +kubebuilder:validation:Minimum=0
	Restarts int32 `json:"restarts"`
	// Nodes that all workers are to be placed on, by name.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	Nodes []string `json:"nodes"`
	// Devices that the workers are to be given theirs of, by the UUIDs that Polder's device
	// driver publishes: a move to other devices of the same node. None is any.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=set
	// +optional
	Devices []string `json:"devices,omitempty"`
	// CheckpointSeconds is how long the workers may go on until their next checkpoint is
	// written. Without one by then they are stopped all the same, and what they did since
	// their latest is lost.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=86400
	// +kubebuilder:default=30
	// +optional
	CheckpointSeconds *int64 `json:"checkpointSeconds,omitempty"`
	// PlaceSeconds is how long the new workers may wait for room on the nodes before they
	// go anywhere they fit.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	// +kubebuilder:default=60
	// +optional
	PlaceSeconds *int64 `json:"placeSeconds,omitempty"`
}

// MoveState says how far a move is.
// +kubebuilder:validation:Enum=Saving;Placing;Moved;Elsewhere;Refused
type MoveState string

// The states of a move. The last three are ends.
const (
	// MoveSaving: the workers go on until their next checkpoint is written.
	MoveSaving MoveState = "Saving"
	// MovePlacing: the workers end, or wait for their places.
	MovePlacing MoveState = "Placing"
	// MoveMoved: the workers have their places on the nodes.
	MoveMoved MoveState = "Moved"
	// MoveElsewhere: the nodes had no room any more, and the job goes on wherever it fits.
	MoveElsewhere MoveState = "Elsewhere"
	// MoveRefused: the job was not stopped.
	MoveRefused MoveState = "Refused"
)

// Over reports whether s is an end.
func (s MoveState) Over() bool {
	return s == MoveMoved || s == MoveElsewhere || s == MoveRefused
}

// MoveStatus is what became of a move.
type MoveStatus struct {
	// Asked is that of the move.
	Asked metav1.Time `json:"asked"`
	// State in one word.
	State MoveState `json:"state"`
	// Message says why, in a sentence.
	// +optional
	Message string `json:"message,omitempty"`
	// Nodes that the workers are to be placed on.
	// +listType=atomic
	// +optional
	Nodes []string `json:"nodes,omitempty"`
	// Devices that the workers are to be given theirs of; none is any.
	// +listType=atomic
	// +optional
	Devices []string `json:"devices,omitempty"`
	// Restarts is status.restarts of the attempt that is placed there.
	// +optional
	Restarts int32 `json:"restarts,omitempty"`
	// Time since when it is in this state.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`
}

// Code is an image whose root holds the program, by reference with digest.
type Code struct {
	// Image reference, as "code/NAMESPACE/NAME@sha256:..." in the cloud's own registry or
	// a full reference elsewhere. `polder train DIR` packs and pushes it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image"`
}

// DataSource is a data set: an image, or what lies in a bucket, which is copied to each
// worker before its program starts.
//
// +kubebuilder:validation:XValidation:rule="(has(self.image) ? 1 : 0) + (has(self.dataset) ? 1 : 0) + (has(self.bucket) ? 1 : 0) == 1",message="give one of image, dataset and bucket"
type DataSource struct {
	// Name of the directory under /polder/data.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`
	Name string `json:"name"`
	// Image reference, preferably with digest.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Image string `json:"image,omitempty"`
	// Dataset of the job's namespace, by name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Dataset string `json:"dataset,omitempty"`
	// Bucket that is read as it is when the worker starts.
	// +optional
	Bucket *BucketSource `json:"bucket,omitempty"`
}

// BucketSource is a part of a bucket.
type BucketSource struct {
	// Name that clients know the bucket by.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// Prefix of the keys; empty: all of the bucket. Files are named by what follows it.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Prefix string `json:"prefix,omitempty"`
}

// WorkerResources of one worker.
type WorkerResources struct {
	// CPU cores that a worker is sure of. It may use more while others leave them
	// idle. OMP_NUM_THREADS is this, rounded up, unless env says otherwise.
	// +kubebuilder:default="500m"
	// +optional
	CPU resource.Quantity `json:"cpu,omitempty,omitzero"`
	// Memory in bytes.
	// +kubebuilder:default="1Gi"
	// +optional
	Memory resource.Quantity `json:"memory,omitempty,omitzero"`
}

// Topology is levels at which machines are near to each other. A level is host, fabric,
// rack, zone or region, or a label of nodes, such as example.com/row: nodes are near that
// have the same value of it.
type Topology struct {
	// Required level: all workers are in one domain of it, or none starts.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^(host|fabric|rack|zone|region|[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$`
	// +optional
	Required string `json:"required,omitempty"`
	// Preferred levels, the tightest first: the workers are in one domain of the first
	// that has room for all.
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^(host|fabric|rack|zone|region|[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$`
	// +listType=set
	// +optional
	Preferred []string `json:"preferred,omitempty"`
}

// levels are short names of labels.
var levels = map[string]string{
	"host": corev1.LabelHostname, "fabric": LabelFabric, "rack": LabelRack,
	"zone": corev1.LabelTopologyZone, "region": corev1.LabelTopologyRegion,
}

// LevelLabel is the label of nodes that a level is, and LevelName the other way around.
func LevelLabel(level string) string {
	if l, ok := levels[level]; ok {
		return l
	}
	return level
}

// LevelName is what people call a label that is a level.
func LevelName(label string) string {
	for name, l := range levels {
		if l == label {
			return name
		}
	}
	return label
}

// Checkpoints are files the program writes to /polder/checkpoints.
type Checkpoints struct {
	// Size of the volume that holds checkpoints, metrics and output, in bytes.
	// +kubebuilder:default="2Gi"
	// +optional
	Size resource.Quantity `json:"size,omitempty,omitzero"`
	// StorageClass of the volume; empty: the cluster's default.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClass string `json:"storageClass,omitempty"`
	// Bucket that whole checkpoints are also copied to while the job goes on: below prefix,
	// or below NAMESPACE/JOB/UID where there is none. A job that has none on its volume
	// begins from the newest there, so one that names the prefix of another goes on from it.
	// +optional
	Bucket *BucketSource `json:"bucket,omitempty"`
}

// Output names the model made of /polder/output.
type Output struct {
	// Model is the name of the Model to write; empty: the job's name.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`
	// +optional
	Model string `json:"model,omitempty"`
	// Licence of the model, as an SPDX expression.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Licence string `json:"licence,omitempty"`
}

// State of a TrainJob in one word, for people; programs read the conditions.
// +kubebuilder:validation:Enum=Pending;Running;Restarting;Publishing;Succeeded;Failed;Cancelled
type State string

// The states, in the order a job passes through them.
const (
	StatePending    State = "Pending"
	StateRunning    State = "Running"
	StateRestarting State = "Restarting"
	StatePublishing State = "Publishing"
	StateSucceeded  State = "Succeeded"
	StateFailed     State = "Failed"
	StateCancelled  State = "Cancelled"
)

// Done reports whether s is an end state.
func (s State) Done() bool {
	return s == StateSucceeded || s == StateFailed || s == StateCancelled
}

// TrainJobStatus is written by the train controller, but for queue, which the
// controller of Queues writes and nobody else.
type TrainJobStatus struct {
	// State in one word.
	// +optional
	State State `json:"state,omitempty"`
	// Message says why the job is in this state, and what to do about it.
	// +optional
	Message string `json:"message,omitempty"`
	// Conditions: Accepted, QuotaReserved, Gang, Running, Restarting, Complete, Failed.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// StartTime is when all workers ran for the first time.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// CompletionTime is when the job ended.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// Restarts counts how often all workers were started again.
	// +optional
	Restarts int32 `json:"restarts,omitempty"`
	// Preemptions counts how many of them were because the job had to make room for
	// others; they use up no retries.
	// +optional
	Preemptions int32 `json:"preemptions,omitempty"`
	// Moves counts how many of them were because the job was moved; they use up no
	// retries either.
	// +optional
	Moves int32 `json:"moves,omitempty"`
	// Move is what became of the last one that was asked for.
	// +optional
	Move *MoveStatus `json:"move,omitempty"`
	// Queue is what its queue has decided about the job; nothing if it waits in none.
	// +optional
	Queue *JobQueue `json:"queue,omitempty"`
	// QueuedSeconds is how long the job had waited in queues when it was admitted last;
	// it does not count for the deadline.
	// +optional
	QueuedSeconds int64 `json:"queuedSeconds,omitempty"`
	// Ready is the number of workers that run now.
	// +optional
	Ready int32 `json:"ready,omitempty"`
	// Image is the runtime image the workers run, by digest.
	// +optional
	Image string `json:"image,omitempty"`
	// Software is the stack of the Runtime's variant that the workers run: chosen by
	// what devices were free when the job was accepted.
	// +optional
	Software string `json:"software,omitempty"`
	// Devices that the workers were given, in words.
	// +optional
	Devices string `json:"devices,omitempty"`
	// Progress is the last progress the program reported.
	// +optional
	Progress *Progress `json:"progress,omitempty"`
	// Model that came out.
	// +optional
	Model *ModelReference `json:"model,omitempty"`
}

// JobQueue is what a queue has decided about a job.
type JobQueue struct {
	// Name of the Queue.
	Name string `json:"name"`
	// Admitted: the job may run. When it becomes false the job's workers end, and it
	// waits again.
	Admitted bool `json:"admitted"`
	// Reason in one word: Admitted; Reserved, when what was ended for the job is not
	// gone yet; Preempted, when it was ended for others; else why it waits.
	Reason string `json:"reason"`
	// Message says why, in a sentence.
	// +optional
	Message string `json:"message,omitempty"`
	// Flavors of device that the job counts as.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	Flavors []string `json:"flavors,omitempty"`
	// Software of those devices; the job runs the Runtime's variant for it.
	// +optional
	Software string `json:"software,omitempty"`
	// Time of the decision.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`
	// Expected is when the job is expected to be admitted, where that is known.
	// +optional
	Expected *metav1.Time `json:"expected,omitempty"`
}

// Progress of a run, as the program last reported it.
type Progress struct {
	// Epoch that ended last, counted from 1.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
	// Epochs in all; 0 when the program does not know.
	// +optional
	Epochs int64 `json:"epochs,omitempty"`
	// Step that ended last.
	// +optional
	Step int64 `json:"step,omitempty"`
	// Loss in decimal notation, as a string: CRDs hold no floats.
	// +optional
	Loss string `json:"loss,omitempty"`
	// Metrics by name, in decimal notation.
	// +optional
	Metrics map[string]string `json:"metrics,omitempty"`
	// ResumedFrom is the epoch of the checkpoint the present workers began at.
	// +optional
	ResumedFrom int64 `json:"resumedFrom,omitempty"`
	// Time of the report.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`
}

// ModelReference points at a Model and pins what it meant at the time.
type ModelReference struct {
	// Name of the Model in the same namespace.
	Name string `json:"name"`
	// Digest of its manifest.
	Digest string `json:"digest"`
	// Reference to pull it by.
	Reference string `json:"reference"`
}

// TrainJobList is a list of TrainJobs.
//
// +kubebuilder:object:root=true
type TrainJobList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TrainJob `json:"items"`
}
