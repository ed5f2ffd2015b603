package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of every Polder kind.
const Group = "polder.dev"

// GroupVersion is the group and version of this package's kinds.
var GroupVersion = schema.GroupVersion{Group: Group, Version: "v1alpha1"}

// AddToScheme registers this package's kinds in s.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&Runtime{}, &RuntimeList{},
		&TrainJob{}, &TrainJobList{},
		&Model{}, &ModelList{},
		&Queue{}, &QueueList{},
		&Bucket{}, &BucketList{},
		&Dataset{}, &DatasetList{},
		&InferenceService{}, &InferenceServiceList{},
		&ModelRoute{}, &ModelRouteList{},
		&Evaluation{}, &EvaluationList{},
		&Distillation{}, &DistillationList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}

// Condition types used by every kind of the group. The meaning of True is in
// the name; Reason says why, Message says what to do.
const (
	// ConditionReady: the object can be used as it is.
	ConditionReady = "Ready"
	// ConditionAccepted: the spec names only things that exist.
	ConditionAccepted = "Accepted"
	// ConditionRunning: at least one worker runs.
	ConditionRunning = "Running"
	// ConditionQuotaReserved: the queue has admitted the work; only work that waits in
	// one has this condition.
	ConditionQuotaReserved = "QuotaReserved"
	// ConditionComplete: the work ended well; it never becomes False again.
	ConditionComplete = "Complete"
	// ConditionFailed: the work ended badly; it never becomes False again.
	ConditionFailed = "Failed"
)

// Labels and annotations that Polder writes or reads.
const (
	// LabelTrainJob names the TrainJob that a pod, job or volume belongs to.
	LabelTrainJob = Group + "/trainjob"
	// LabelService and LabelRevision name the InferenceService and the revision of it that
	// a pod or ReplicaSet belongs to.
	LabelService  = Group + "/inferenceservice"
	LabelRevision = Group + "/revision"
	// LabelEvaluation and LabelDistillation name what a job was made for.
	LabelEvaluation   = Group + "/evaluation"
	LabelDistillation = Group + "/distillation"
	// AnnotationParents, on a TrainJob, is an object in JSON of what its model is made of:
	// digests of models by what they were for, such as teacher and from. It becomes
	// spec.lineage.parents of the Model.
	AnnotationParents = Group + "/parents"
	// FinalizerArtifacts keeps a Model that is removed until its artifacts have left the
	// registry. Whoever takes it away keeps them there.
	FinalizerArtifacts = Group + "/artifacts"
	// AnnotationForget, on a Model, is the digest of a version that is to leave
	// status.versions. Its controller takes the annotation away when it has done so; one
	// that spec or an alias means stays.
	AnnotationForget = Group + "/forget"
	// LabelEmulated, on a node, says that the machine does not exist: its devices are
	// read from a dump, and nothing runs there. It is also the key of the taint that
	// keeps away what does not ask for devices.
	LabelEmulated = Group + "/emulated"
	// LabelSandbox, on a namespace, is the tenant's sandbox: "gvisor" (the
	// default), "kata" or "runc". Only an administrator can set "runc".
	LabelSandbox = Group + "/sandbox"
	// LabelTenant, on a namespace, names the tenant that owns it. Namespaces
	// of one tenant may talk to each other; those of two may not.
	LabelTenant = Group + "/tenant"
	// LabelQueue, on a namespace, names the Queue of its training jobs that name none.
	// Without it such jobs are held back by nothing. On a batch/v1 Job or on a pod it
	// names the Queue that holds it.
	LabelQueue = Group + "/queue"
	// LabelFabric and LabelRack, on a node, name the scale-up domain and the rack that it
	// is in. A node without the first is in the one that its devices say they are in.
	LabelFabric = Group + "/fabric"
	LabelRack   = Group + "/rack"
	// AnnotationPreferredTopology, on a PodGroup, lists labels of nodes, the tightest
	// first: its pods are placed in one domain of the first that has room for all.
	AnnotationPreferredTopology = Group + "/preferred-topology"
	// AnnotationSaved, on the PodGroup of a training job, or on its worker if it has but
	// one, is when the job last kept what it had done, in the form of RFC 3339: what ends
	// it now costs what it did since. The controller of TrainJobs writes it; whoever else
	// does can only make the job cheaper to end.
	AnnotationSaved = Group + "/saved"
	// LabelPriority, on a Job or pod with a queue, is its priority there: -1000 to 1000.
	LabelPriority = Group + "/priority"
	// AnnotationQueue, on a Job or pod with a queue, is what the queue has decided: a
	// JobQueue as JSON. The controller of Queues writes it and nobody else.
	AnnotationQueue = Group + "/queue-status"
	// GateQueue is the scheduling gate of a pod that its queue holds.
	GateQueue = Group + "/queue"
)

// RegistryHost is the name by which images and models of the cloud's own
// registry are known everywhere: in pod specs, in Runtimes, in Models. The node
// and the CLI map it to the address the registry really listens on.
const RegistryHost = "registry.polder.internal"

// A key of the object store is a Secret of this type, in a namespace of the tenant whose
// it is, with these fields.
const (
	SecretStoreKey = Group + "/store-key"
	StoreAccessKey = "accessKey"
	StoreSecretKey = "secretKey"
	// StoreRole is admin, writer or reader; with anything else a key may do what buckets
	// grant to it by name.
	StoreRole     = "role"
	StoreEndpoint = "endpoint"
	StoreRegion   = "region"
	StoreCA       = "ca.crt"
)

// StoreSecret is the Secret with which a tenant's people use the store, and StoreJobSecret
// that with which its jobs do.
const (
	StoreSecret    = "polder-store"
	StoreJobSecret = "polder-store-job"
)

// A key for the gateway is a Secret of this type: whoever presents the value of its field
// is let in to the services and routes of the Secret's namespace, until it expires.
const (
	SecretAPIKey = Group + "/api-key"
	APIKey       = "key"
	// APIKeyExpires is a time of RFC 3339; empty: never.
	APIKeyExpires = "expires"
)

// ResourceInfer is, below inferenceservices and modelroutes, the subresource that a user
// must be allowed to create in order to be served by the gateway.
const ResourceInfer = "infer"
