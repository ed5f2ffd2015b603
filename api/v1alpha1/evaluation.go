package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Evaluation judges models, services and routes on the same rows: quality with confidence intervals, latency,
// cost, and whether the first of them is better, worse or not to be told apart from the
// others.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=ev,categories=polder
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Models",type=string,JSONPath=`.spec.models[*].name`
// +kubebuilder:printcolumn:name="Passed",type=boolean,JSONPath=`.status.passed`
// +kubebuilder:printcolumn:name="Verdict",type=string,JSONPath=`.status.verdict`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 52",message="metadata.name must be at most 52 characters, because pods are named after it; choose a shorter name"
type Evaluation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   EvaluationSpec   `json:"spec"`
	Status EvaluationStatus `json:"status,omitempty"`
}

// EvaluationSpec says what is judged, on what, and what is asked of the first model. It
// cannot be changed: another judgement is another Evaluation.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: make another Evaluation"
type EvaluationSpec struct {
	// Models that are judged; the first is the candidate, the others it is compared with.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=name
	Models []EvaluatedModel `json:"models"`
	// Task: classification, regression, forecast, or generation.
	// +kubebuilder:default=classification
	// +optional
	Task Task `json:"task,omitempty"`
	// Data that they are judged on.
	Data EvaluationData `json:"data"`
	// Trained is what they were trained on: rows that are in both are told of.
	// +optional
	Trained *EvaluationData `json:"trained,omitempty"`
	// Generation says how services are asked for texts, at that task.
	// +optional
	Generation *EvaluationGeneration `json:"generation,omitempty"`
	// Program that judges answers instead of the built-in metrics: it reads rows as JSON
	// lines with the fields row, model, expected, answer and, of texts, prompt from its input, and writes
	// lines with row, model and score. It runs in the directory of its code.
	// +optional
	Program *EvaluationProgram `json:"program,omitempty"`
	// Runtime that models in ONNX run in, and that services are asked from.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:default=onnx-cpu
	// +optional
	Runtime string `json:"runtime,omitempty"`
	// Resources of the pod that judges.
	// +optional
	Resources WorkerResources `json:"resources,omitempty,omitzero"`
	// CostPerHour of what the pod uses, in whatever unit the organisation counts in, as a
	// decimal number. Costs of a thousand requests to models are told by it.
	// +kubebuilder:validation:Pattern=`^[0-9]{1,9}(\.[0-9]{1,9})?$`
	// +optional
	CostPerHour string `json:"costPerHour,omitempty"`
	// Requirements that the candidate must meet to pass.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Requirements []EvaluationRequirement `json:"requirements,omitempty"`
	// Seed of what is drawn by chance.
	// +kubebuilder:default=1
	// +optional
	Seed int64 `json:"seed,omitempty"`
	// DeadlineSeconds ends the evaluation, failed, this long after it was created.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:default=86400
	// +optional
	DeadlineSeconds int64 `json:"deadlineSeconds,omitempty"`
}

// Task is what a model is asked to do.
// +kubebuilder:validation:Enum=classification;regression;forecast;generation
type Task string

// The tasks.
const (
	TaskClassification Task = "classification"
	TaskRegression     Task = "regression"
	TaskForecast       Task = "forecast"
	TaskGeneration     Task = "generation"
)

// EvaluatedModel is a model in an evaluation: one in ONNX, by name, or a service or route
// that is asked through the gateway.
//
// +kubebuilder:validation:XValidation:rule="(has(self.model) ? 1 : 0) + (has(self.service) ? 1 : 0) + (has(self.route) ? 1 : 0) == 1",message="give one of model, service and route"
// +kubebuilder:validation:XValidation:rule="!has(self.model) || !has(self.labels) && !has(self.costPerHour)",message="labels and costPerHour are of a service or route: a model has its labels in model.json, and costs what the pod does"
type EvaluatedModel struct {
	// Name in the report.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`
	Name string `json:"name"`
	// Model of the same namespace: NAME, NAME@ALIAS or NAME@sha256:DIGEST.
	// +kubebuilder:validation:MaxLength=160
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(@([a-z][-a-z0-9]{0,31}|sha256:[a-f0-9]{64}))?$`
	// +optional
	Model string `json:"model,omitempty"`
	// Service is an InferenceService of the same namespace, which is asked as it is.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`
	// +optional
	Service string `json:"service,omitempty"`
	// Route is a ModelRoute of the same namespace.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`
	// +optional
	Route string `json:"route,omitempty"`
	// Labels of the classes that a service or route answers, in their order, where its
	// server does not tell them; empty: 0, 1, 2 and so on.
	// +kubebuilder:validation:MaxItems=4096
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=atomic
	// +optional
	Labels []string `json:"labels,omitempty"`
	// CostPerHour of what answers requests to a service or route, one at a time. Without
	// it a route costs what its targets do, and a service nothing that is told.
	// +kubebuilder:validation:Pattern=`^[0-9]{1,9}(\.[0-9]{1,9})?$`
	// +optional
	CostPerHour string `json:"costPerHour,omitempty"`
}

// EvaluationGeneration says how texts are asked for: by OpenAI's chat completions, at
// temperature 0 and with the seed of the evaluation.
type EvaluationGeneration struct {
	// MaxTokens that an answer may have.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=131072
	// +kubebuilder:default=256
	// +optional
	MaxTokens int32 `json:"maxTokens,omitempty"`
	// System is the message before each prompt; empty: there is none.
	// +kubebuilder:validation:MaxLength=8192
	// +optional
	System string `json:"system,omitempty"`
}

// EvaluationData is a table: CSV, or JSON lines.
//
// +kubebuilder:validation:XValidation:rule="(has(self.image) ? 1 : 0) + (has(self.dataset) ? 1 : 0) + (has(self.bucket) ? 1 : 0) == 1",message="give one of image, dataset and bucket"
type EvaluationData struct {
	// Image reference, preferably with digest.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Image string `json:"image,omitempty"`
	// Dataset of the same namespace, by name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Dataset string `json:"dataset,omitempty"`
	// Bucket that is read as it is when the evaluation starts.
	// +optional
	Bucket *BucketSource `json:"bucket,omitempty"`
	// File in it. Empty: the only file there is.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	File string `json:"file,omitempty"`
	// Label is the column of right answers: its name, or, where the first line is not one
	// of names, its number from 1; empty: the last column.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Label string `json:"label,omitempty"`
	// Slices are columns by whose values quality is also told apart. They are not given to
	// the models.
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=128
	// +listType=set
	// +optional
	Slices []string `json:"slices,omitempty"`
	// Rows that are taken; empty: all. A number from 0 counts rows without the line of names.
	// +optional
	Rows *RowRange `json:"rows,omitempty"`
}

// RowRange is a part of a table.
type RowRange struct {
	// From this row, from 0, up to but without To; 0: to the end.
	// +kubebuilder:validation:Minimum=0
	// +optional
	From int64 `json:"from,omitempty"`
	// +kubebuilder:validation:Minimum=0
	// +optional
	To int64 `json:"to,omitempty"`
}

// EvaluationProgram judges answers.
type EvaluationProgram struct {
	// Runtime that it runs in.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Runtime string `json:"runtime"`
	// Code image.
	Code Code `json:"code"`
	// Command and its arguments.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	Command []string `json:"command"`
}

// EvaluationRequirement is a bound of one metric. For metrics where less is better, such
// as mae and latency, min and max keep their plain meaning.
type EvaluationRequirement struct {
	// Metric: accuracy, f1, auc, mae, rmse, exact_match, token_f1, rouge_l, score,
	// latency_p50_seconds, latency_p99_seconds, throughput_rows_per_second, cost_per_1000,
	// energy_joules_per_1000, tokens_per_second; docs/formats/evaluation.md.
	// +kubebuilder:validation:Pattern=`^[a-z][a-z0-9_]{0,62}$`
	Metric string `json:"metric"`
	// Min and Max that the value may have, as decimal numbers.
	// +kubebuilder:validation:Pattern=`^-?[0-9]{1,12}(\.[0-9]{1,12})?$`
	// +optional
	Min string `json:"min,omitempty"`
	// +kubebuilder:validation:Pattern=`^-?[0-9]{1,12}(\.[0-9]{1,12})?$`
	// +optional
	Max string `json:"max,omitempty"`
	// NotWorseThan names a model of the evaluation that the candidate may not be
	// significantly worse than.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	NotWorseThan string `json:"notWorseThan,omitempty"`
}

// EvaluationStatus is written by the controller of evaluations.
type EvaluationStatus struct {
	// State in one word: Pending, Running, Succeeded, Failed.
	// +optional
	State State `json:"state,omitempty"`
	// Message says why it is in this state, and what to do about it.
	// +optional
	Message string `json:"message,omitempty"`
	// Progress: rows that have been answered, by all models together, and rows in all.
	// +optional
	Done int64 `json:"done,omitempty"`
	// +optional
	Total int64 `json:"total,omitempty"`
	// Rows that were judged.
	// +optional
	Rows int64 `json:"rows,omitempty"`
	// Data digest, where the data has one.
	// +optional
	DataDigest string `json:"dataDigest,omitempty"`
	// Models as they were found, in the order of the spec.
	// +listType=atomic
	// +optional
	Models []EvaluatedResult `json:"models,omitempty"`
	// Comparisons of the candidate with each of the others.
	// +listType=atomic
	// +optional
	Comparisons []EvaluationComparison `json:"comparisons,omitempty"`
	// Verdict in a sentence. "No significant difference" is one.
	// +optional
	Verdict string `json:"verdict,omitempty"`
	// Passed: the candidate meets all requirements. Of an evaluation without any it is true
	// when it ended well.
	// +optional
	Passed bool `json:"passed,omitempty"`
	// Unmet requirements, a sentence each.
	// +listType=atomic
	// +optional
	Unmet []string `json:"unmet,omitempty"`
	// Report: the artifact with all numbers as JSON. It refers to the candidate, if that is
	// a model.
	// +optional
	Report *ReportReference `json:"report,omitempty"`
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

// EvaluatedResult is one model's numbers.
type EvaluatedResult struct {
	// Name as in the spec.
	Name string `json:"name"`
	// Model that was judged, by digest.
	// +optional
	Model *ModelReference `json:"model,omitempty"`
	// Service or Route that was asked instead.
	// +optional
	Service string `json:"service,omitempty"`
	// +optional
	Route string `json:"route,omitempty"`
	// By says who has answered for a service or route, as far as its answers tell.
	// +listType=atomic
	// +optional
	By []EvaluationOrigin `json:"by,omitempty"`
	// Metrics by name.
	// +optional
	Metrics map[string]MetricValue `json:"metrics,omitempty"`
}

// EvaluationOrigin is who has answered some of the rows.
type EvaluationOrigin struct {
	// Target of a route.
	// +optional
	Target string `json:"target,omitempty"`
	// Revision of a service, and digest of the model that it serves.
	// +optional
	Revision string `json:"revision,omitempty"`
	// +optional
	Digest string `json:"digest,omitempty"`
	Rows   int64  `json:"rows"`
}

// MetricValue is a number with its confidence interval of 95 %, in decimal notation.
type MetricValue struct {
	Value string `json:"value"`
	// +optional
	Low string `json:"low,omitempty"`
	// +optional
	High string `json:"high,omitempty"`
}

// EvaluationComparison is the candidate beside another model, on the same rows.
type EvaluationComparison struct {
	// With names the other model, as in the spec.
	With string `json:"with"`
	// Metric that is compared.
	Metric string `json:"metric"`
	// Difference is candidate minus the other, with its interval.
	Difference MetricValue `json:"difference"`
	// P is the probability of such a difference, or a larger one, if there were none.
	P string `json:"p"`
	// Test that gave it: mcnemar, permutation.
	Test string `json:"test"`
	// Verdict: better, worse, none (no significant difference).
	// +kubebuilder:validation:Enum=better;worse;none
	Verdict string `json:"verdict"`
}

// ReportReference is where a report lies.
type ReportReference struct {
	// Reference to pull it by.
	Reference string `json:"reference"`
	// Digest of its manifest.
	Digest string `json:"digest"`
}

// ReportRepository is where the report of an evaluation lies whose candidate is no model.
func ReportRepository(namespace, evaluation string) string {
	return "reports/" + namespace + "/" + evaluation
}

// EvaluationList is a list of Evaluations.
//
// +kubebuilder:object:root=true
type EvaluationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Evaluation `json:"items"`
}
