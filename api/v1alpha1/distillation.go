package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Distillation makes a small model of a large one: the teacher answers the data once, a
// student learns from its answers, and an evaluation says what came of it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=dt,categories=polder
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Stage",type=string,JSONPath=`.status.stage`
// +kubebuilder:printcolumn:name="Method",type=string,JSONPath=`.spec.method`
// +kubebuilder:printcolumn:name="Student",type=string,JSONPath=`.status.model.name`
// +kubebuilder:printcolumn:name="Used",type=string,JSONPath=`.status.used.acceleratorHours`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 43",message="metadata.name must be at most 43 characters, because jobs are named after it; choose a shorter name"
type Distillation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   DistillationSpec   `json:"spec"`
	Status DistillationStatus `json:"status,omitempty"`
}

// DistillationSpec says who learns from whom. It cannot be changed, but for cancel and
// the budget.
//
// +kubebuilder:validation:XValidation:rule="has(self.teacher) == has(oldSelf.teacher) && (!has(self.teacher) || self.teacher == oldSelf.teacher)",fieldPath=".teacher",message="spec is immutable: teacher cannot be changed, only cancel and budget can: make another Distillation"
// +kubebuilder:validation:XValidation:rule="self.student == oldSelf.student",fieldPath=".student",message="spec is immutable: student cannot be changed, only cancel and budget can: make another Distillation"
// +kubebuilder:validation:XValidation:rule="self.data == oldSelf.data",fieldPath=".data",message="spec is immutable: data cannot be changed, only cancel and budget can: make another Distillation"
// +kubebuilder:validation:XValidation:rule="has(self.method) == has(oldSelf.method) && (!has(self.method) || self.method == oldSelf.method)",fieldPath=".method",message="spec is immutable: method cannot be changed, only cancel and budget can: make another Distillation"
// +kubebuilder:validation:XValidation:rule="has(self.labels) == has(oldSelf.labels) && (!has(self.labels) || self.labels == oldSelf.labels)",fieldPath=".labels",message="spec is immutable: labels cannot be changed, only cancel and budget can: make another Distillation"
// +kubebuilder:validation:XValidation:rule="has(self.held) == has(oldSelf.held) && (!has(self.held) || self.held == oldSelf.held)",fieldPath=".held",message="spec is immutable: held cannot be changed, only cancel and budget can: make another Distillation"
// +kubebuilder:validation:XValidation:rule="has(self.requirements) == has(oldSelf.requirements) && (!has(self.requirements) || self.requirements == oldSelf.requirements)",fieldPath=".requirements",message="spec is immutable: requirements cannot be changed, only cancel and budget can: make another Distillation"
// +kubebuilder:validation:XValidation:rule="has(self.output) == has(oldSelf.output) && (!has(self.output) || self.output == oldSelf.output)",fieldPath=".output",message="spec is immutable: output cannot be changed, only cancel and budget can: make another Distillation"
// +kubebuilder:validation:XValidation:rule="has(self.teacher) || self.method in ['finetune', 'lora', 'reinforce']",fieldPath=".teacher",message="logits and sequence need a teacher"
type DistillationSpec struct {
	// Method: logits (soft labels), sequence (the teacher writes the training data),
	// finetune (all weights, from labels), lora (low-rank adapters), reinforce (policy
	// gradient with a reward program).
	// +kubebuilder:default=logits
	// +optional
	Method Method `json:"method,omitempty"`
	// Teacher that the student learns from.
	// +optional
	Teacher *Teacher `json:"teacher,omitempty"`
	// Student that learns.
	Student Student `json:"student"`
	// Data that the teacher answers and the student learns from.
	Data EvaluationData `json:"data"`
	// Labels: how many rows' labels the student may see: -1 all, 0 none. Where there is no
	// teacher to learn from, 0 means all, too.
	// +kubebuilder:validation:Minimum=-1
	// +kubebuilder:default=0
	// +optional
	Labels *int64 `json:"labels,omitempty"`
	// Held is what the student is judged on, which neither it nor its teacher may have seen.
	// Empty: what the recipe held back of the data.
	// +optional
	Held *EvaluationData `json:"held,omitempty"`
	// Requirements of the evaluation at the end; a student that does not meet them is not
	// registered under the output's name. With method reinforce also reward, the mean on
	// rows that it has not learned from; where the parameter actions names what to choose
	// among, reward alone.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Requirements []EvaluationRequirement `json:"requirements,omitempty"`
	// CacheBucket keeps the teacher's answers, so that the next student of the same teacher
	// and data need not ask again.
	// +optional
	CacheBucket *BucketSource `json:"cacheBucket,omitempty"`
	// Budget of all stages together.
	// +optional
	Budget Budget `json:"budget,omitempty,omitzero"`
	// Output names the student.
	// +optional
	Output Output `json:"output,omitempty,omitzero"`
	// Cancel ends it.
	// +optional
	Cancel bool `json:"cancel,omitempty"`
}

// Method of a distillation.
// +kubebuilder:validation:Enum=logits;sequence;finetune;lora;reinforce
type Method string

// The methods.
const (
	MethodLogits    Method = "logits"
	MethodSequence  Method = "sequence"
	MethodFinetune  Method = "finetune"
	MethodLora      Method = "lora"
	MethodReinforce Method = "reinforce"
)

// Teacher is a model of the namespace, or an endpoint that speaks OpenAI's API.
//
// +kubebuilder:validation:XValidation:rule="has(self.model) != has(self.endpoint)",message="give one of model and endpoint"
type Teacher struct {
	// Model: NAME, NAME@ALIAS or NAME@sha256:DIGEST.
	// +kubebuilder:validation:MaxLength=160
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(@([a-z][-a-z0-9]{0,31}|sha256:[a-f0-9]{64}))?$`
	// +optional
	Model string `json:"model,omitempty"`
	// Endpoint elsewhere.
	// +optional
	Endpoint *Endpoint `json:"endpoint,omitempty"`
	// Accelerators of the stage in which the teacher answers.
	// +optional
	Accelerators Accelerators `json:"accelerators,omitempty,omitzero"`
	// Resources of that stage.
	// +optional
	Resources WorkerResources `json:"resources,omitempty,omitzero"`
}

// Endpoint speaks OpenAI's API.
type Endpoint struct {
	// URL up to and with /v1.
	// +kubebuilder:validation:Pattern=`^https?://[^ ]+$`
	// +kubebuilder:validation:MaxLength=1024
	URL string `json:"url"`
	// Model that is asked for.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Model string `json:"model"`
	// Key: a Secret's field with the key.
	// +optional
	Key *corev1.SecretKeySelector `json:"key,omitempty"`
	// RequestTimeoutSeconds of one question. One that takes longer is asked again; answers
	// that are there are kept.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3600
	// +kubebuilder:default=60
	// +optional
	RequestTimeoutSeconds int32 `json:"requestTimeoutSeconds,omitempty"`
}

// Student says how the student is made.
//
// +kubebuilder:validation:XValidation:rule="has(self.recipe) != has(self.code)",message="give one of recipe and code"
type Student struct {
	// Recipe of Polder's own, by name; `polder distil recipes` lists them.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Recipe string `json:"recipe,omitempty"`
	// Code of a program of one's own that keeps to the same conventions.
	// +optional
	Code *Code `json:"code,omitempty"`
	// Command of that code.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Command []string `json:"command,omitempty"`
	// From is a model that the student's weights begin as, of the same namespace.
	// +kubebuilder:validation:MaxLength=160
	// +optional
	From string `json:"from,omitempty"`
	// Runtime that it learns in.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:default=pytorch-cpu
	// +optional
	Runtime string `json:"runtime,omitempty"`
	// Parameters of the recipe: temperature, alpha, epochs, hidden, ...
	// +kubebuilder:validation:MaxProperties=64
	// +optional
	Parameters map[string]string `json:"parameters,omitempty"`
	// Workers that learn together.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	// +kubebuilder:default=1
	// +optional
	Workers int32 `json:"workers,omitempty"`
	// Accelerators of each worker.
	// +optional
	Accelerators Accelerators `json:"accelerators,omitempty,omitzero"`
	// Resources of each worker.
	// +optional
	Resources WorkerResources `json:"resources,omitempty,omitzero"`
}

// Budget of a distillation. A worker without accelerators counts as one for as long as it
// runs, so that a budget also bounds work on processors.
type Budget struct {
	// AcceleratorHours at most, as a decimal number; what runs beyond is ended, and what is
	// there is kept. Empty: no bound.
	// +kubebuilder:validation:Pattern=`^[0-9]{1,9}(\.[0-9]{1,9})?$`
	// +optional
	AcceleratorHours string `json:"acceleratorHours,omitempty"`
}

// DistillationStatus is written by the controller of distillations.
type DistillationStatus struct {
	// State in one word: Pending, Running, Succeeded, Failed, Cancelled.
	// +optional
	State State `json:"state,omitempty"`
	// Stage that it is in: teacher, student, evaluation.
	// +optional
	Stage string `json:"stage,omitempty"`
	// Message says why it is in this state, and what to do about it.
	// +optional
	Message string `json:"message,omitempty"`
	// Stages that are over or under way, in order.
	// +listType=map
	// +listMapKey=name
	// +optional
	Stages []DistillationStage `json:"stages,omitempty"`
	// Used of the budget so far.
	// +optional
	Used Budget `json:"used,omitempty,omitzero"`
	// Teacher as it was found.
	// +optional
	Teacher *ModelReference `json:"teacher,omitempty"`
	// Model that came out.
	// +optional
	Model *ModelReference `json:"model,omitempty"`
	// Evaluation that judged it.
	// +optional
	Evaluation string `json:"evaluation,omitempty"`
	// Verdict of the evaluation, in a sentence.
	// +optional
	Verdict string `json:"verdict,omitempty"`
	// StartTime and CompletionTime.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// Conditions: Accepted, Complete, Failed.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DistillationStage is one job of a distillation.
type DistillationStage struct {
	// Name: teacher, student, evaluation.
	Name string `json:"name"`
	// Job or Evaluation of that name.
	// +optional
	Job string `json:"job,omitempty"`
	// State of it.
	// +optional
	State State `json:"state,omitempty"`
	// Message says what it did: how many answers were cached, how many were dropped.
	// +optional
	Message string `json:"message,omitempty"`
	// AcceleratorHours that it has used, as a decimal number.
	// +optional
	AcceleratorHours string `json:"acceleratorHours,omitempty"`
}

// DistillationList is a list of Distillations.
//
// +kubebuilder:object:root=true
type DistillationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Distillation `json:"items"`
}
