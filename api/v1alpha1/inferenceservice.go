package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// InferenceService serves a model, or any container with an HTTP port, behind the
// cloud's gateway: replicas that come and go with the load, down to none, and a new
// revision beside the old one whenever what is served changes.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=isvc,categories=polder
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.spec.model`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Replicas",type=integer,JSONPath=`.status.replicas`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.url`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 45",message="metadata.name must be at most 45 characters, because pods are named after it; choose a shorter name"
type InferenceService struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   InferenceServiceSpec   `json:"spec"`
	Status InferenceServiceStatus `json:"status,omitempty"`
}

// InferenceServiceSpec says what is served, and how.
//
// +kubebuilder:validation:XValidation:rule="has(self.runtime) != has(self.image)",message="give one of runtime and image"
// +kubebuilder:validation:XValidation:rule="!has(self.canary) || has(self.model)",message="canary is another model of the same service, so model must be given too"
type InferenceServiceSpec struct {
	// Model to serve: NAME, NAME@ALIAS or NAME@sha256:DIGEST, of the same namespace. NAME
	// and NAME@ALIAS are followed: when they come to mean another digest, a new revision
	// is rolled out. The model's files are at /polder/model, read-only. Empty: the
	// container needs none.
	// +kubebuilder:validation:MaxLength=160
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(@([a-z][-a-z0-9]{0,31}|sha256:[a-f0-9]{64}))?$`
	// +optional
	Model string `json:"model,omitempty"`
	// Runtime to serve it with, by name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Runtime string `json:"runtime,omitempty"`
	// Image to run instead of a Runtime, preferably by digest.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Image string `json:"image,omitempty"`
	// Command and its arguments; empty: the image's own.
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Command []string `json:"command,omitempty"`
	// Env adds environment variables.
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Env []corev1.EnvVar `json:"env,omitempty"`
	// Protocol that is spoken: v2 is the Open Inference Protocol, openai that of OpenAI's
	// API, http anything else.
	// +kubebuilder:default=v2
	// +optional
	Protocol Protocol `json:"protocol,omitempty"`
	// Port that the container listens at, in clear text. It is told it as PORT.
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=65535
	// +kubebuilder:default=8080
	// +optional
	Port int32 `json:"port,omitempty"`
	// ReadyPath answers 200 when requests may come. Empty: /v2/health/ready, /v1/models or
	// /, by protocol.
	// +kubebuilder:validation:Pattern=`^/`
	// +kubebuilder:validation:MaxLength=256
	// +optional
	ReadyPath string `json:"readyPath,omitempty"`
	// Resources of each replica.
	// +optional
	Resources WorkerResources `json:"resources,omitempty,omitzero"`
	// Accelerators of each replica.
	// +optional
	Accelerators Accelerators `json:"accelerators,omitempty,omitzero"`
	// Scale bounds how many replicas there are.
	// +kubebuilder:default={}
	// +optional
	Scale Scale `json:"scale,omitempty,omitzero"`
	// Batch lets the server of ONNX models answer several requests at once.
	// +optional
	Batch *Batch `json:"batch,omitempty"`
	// Canary is another model that gets a part of the requests.
	// +optional
	Canary *Canary `json:"canary,omitempty"`
	// TimeoutSeconds is how long an answer may take once a replica has the request.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	// +kubebuilder:default=60
	// +optional
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
}

// Protocol of a service.
// +kubebuilder:validation:Enum=v2;openai;http
type Protocol string

// The protocols.
const (
	ProtocolV2     Protocol = "v2"
	ProtocolOpenAI Protocol = "openai"
	ProtocolHTTP   Protocol = "http"
)

// Scale bounds the replicas of a service.
//
// +kubebuilder:validation:XValidation:rule="(has(self.min) ? self.min : 1) <= (has(self.max) ? self.max : 1)",message="scale.min must be at most scale.max"
type Scale struct {
	// Min replicas; 0 lets the service sleep, and the first request wakes it.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +kubebuilder:default=1
	// +optional
	Min *int32 `json:"min,omitempty"`
	// Max replicas of a revision.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +kubebuilder:default=1
	// +optional
	Max int32 `json:"max,omitempty"`
	// Concurrency is how many requests at a time a replica is to have: more are wanted
	// when there are more of them.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +kubebuilder:default=8
	// +optional
	Concurrency int32 `json:"concurrency,omitempty"`
	// IdleSeconds without a request after which a service with min 0 sleeps.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	// +kubebuilder:default=60
	// +optional
	IdleSeconds int32 `json:"idleSeconds,omitempty"`
	// WakeSeconds is how long a request waits for a replica before it is answered 503.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3600
	// +kubebuilder:default=120
	// +optional
	WakeSeconds int32 `json:"wakeSeconds,omitempty"`
	// QueueMax is how many requests may wait so; those that come beyond are answered 429.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	// +kubebuilder:default=1000
	// +optional
	QueueMax int32 `json:"queueMax,omitempty"`
}

// Batch says how requests are put together.
type Batch struct {
	// Max rows that are computed at once.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4096
	// +kubebuilder:default=32
	// +optional
	Max int32 `json:"max,omitempty"`
	// DelayMicroseconds is how long a request may wait for others while the model is idle.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	// +kubebuilder:default=0
	// +optional
	DelayMicroseconds int32 `json:"delayMicroseconds,omitempty"`
}

// Canary is a model on trial.
type Canary struct {
	// Model as in the service.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=160
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(@([a-z][-a-z0-9]{0,31}|sha256:[a-f0-9]{64}))?$`
	Model string `json:"model"`
	// Percent of the requests that it gets.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent int32 `json:"percent"`
}

// InferenceServiceStatus is written by the serve controller; the gateway reads from it
// where requests go.
type InferenceServiceStatus struct {
	// ObservedGeneration of the spec that the rest is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// URL below which the gateway serves it.
	// +optional
	URL string `json:"url,omitempty"`
	// Replicas that there are, of all revisions.
	// +optional
	Replicas int32 `json:"replicas,omitempty"`
	// Revisions that serve or are to, the newest first.
	// +listType=map
	// +listMapKey=name
	// +optional
	Revisions []Revision `json:"revisions,omitempty"`
	// Conditions: Accepted (what the spec names is there) and Ready (requests are
	// answered, if need be after a replica has been woken).
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Revision is one state of a service: a ReplicaSet of the same name.
type Revision struct {
	// Name of the ReplicaSet.
	Name string `json:"name"`
	// Role: stable gets what the canary does not; canary; starting has not been ready
	// yet; leaving gets nothing any more, and ends.
	Role RevisionRole `json:"role"`
	// Model that is served, and what it was called.
	// +optional
	Model *ModelReference `json:"model,omitempty"`
	// Percent of the requests that go to it.
	Percent int32 `json:"percent"`
	// Replicas that there are, and how many of them are ready.
	// +optional
	Replicas int32 `json:"replicas,omitempty"`
	// +optional
	ReadyReplicas int32 `json:"readyReplicas,omitempty"`
	// WasReady: a replica of it has been ready, so requests may wait for it.
	// +optional
	WasReady bool `json:"wasReady,omitempty"`
	// Message says what is wrong with it, in a sentence.
	// +optional
	Message string `json:"message,omitempty"`
	// Time since when it has this role.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`
}

// RevisionRole is what a revision is there for.
// +kubebuilder:validation:Enum=stable;canary;starting;leaving
type RevisionRole string

// The roles.
const (
	RevisionStable   RevisionRole = "stable"
	RevisionCanary   RevisionRole = "canary"
	RevisionStarting RevisionRole = "starting"
	RevisionLeaving  RevisionRole = "leaving"
)

// InferenceServiceList is a list of InferenceServices.
//
// +kubebuilder:object:root=true
type InferenceServiceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []InferenceService `json:"items"`
}
