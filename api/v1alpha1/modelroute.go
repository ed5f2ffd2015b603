package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ModelRoute is one endpoint over several InferenceServices: rules say which of them a
// request goes to, a cascade asks the specialist first and the general model when the
// specialist is not sure.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=mr,categories=polder
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Targets",type=string,JSONPath=`.spec.targets[*].service`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Threshold",type=string,JSONPath=`.status.cascade.threshold`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.url`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ModelRoute struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ModelRouteSpec   `json:"spec"`
	Status ModelRouteStatus `json:"status,omitempty"`
}

// ModelRouteSpec says where requests go.
//
// +kubebuilder:validation:XValidation:rule="!has(self.rules) || self.rules.all(r, (has(r.split) ? 1 : 0) + (has(r.cascade) ? 1 : 0) == 1)",message="each rule gives one of split and cascade"
type ModelRouteSpec struct {
	// Targets by the names that the rest of the spec uses. All speak the same protocol.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	Targets []RouteTarget `json:"targets"`
	// Rules: the first whose match fits decides. A request that none fits is answered 404.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	Rules []RouteRule `json:"rules"`
	// Fallback targets, in order, are asked when the chosen one cannot be reached or
	// answers with a status of 500 or more.
	// +kubebuilder:validation:MaxItems=4
	// +listType=atomic
	// +optional
	Fallback []string `json:"fallback,omitempty"`
	// Shadow gets copies of requests; its answers are compared and thrown away.
	// +optional
	Shadow *Shadow `json:"shadow,omitempty"`
	// Limits of each client.
	// +optional
	Limits *RouteLimits `json:"limits,omitempty"`
	// Cache keeps answers, each tenant's apart.
	// +optional
	Cache *RouteCache `json:"cache,omitempty"`
	// Log keeps requests and answers in a bucket, as data for training.
	// +optional
	Log *RouteLog `json:"log,omitempty"`
}

// RouteTarget is a service under a name.
type RouteTarget struct {
	// Name in this route.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`
	Name string `json:"name"`
	// Service is an InferenceService of the same namespace.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`
	Service string `json:"service"`
	// Cost of a thousand requests, in whatever unit the organisation counts in, as a
	// decimal number. It weighs in budgets and in what the route says of itself.
	// +kubebuilder:validation:Pattern=`^[0-9]{1,9}(\.[0-9]{1,9})?$`
	// +optional
	Cost string `json:"cost,omitempty"`
}

// RouteRule sends what fits somewhere.
type RouteRule struct {
	// Name, for people and in metrics.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`
	Name string `json:"name"`
	// Match; empty fits everything.
	// +optional
	Match RouteMatch `json:"match,omitempty,omitzero"`
	// Split between targets, by weight.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Split []RouteWeight `json:"split,omitempty"`
	// Cascade asks one target, and another if the first is not sure.
	// +optional
	Cascade *Cascade `json:"cascade,omitempty"`
}

// RouteMatch: all that is given must fit.
type RouteMatch struct {
	// Tasks: values of the header Polder-Task.
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +optional
	Tasks []string `json:"tasks,omitempty"`
	// Languages: primary subtags of Content-Language, such as en or zh.
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +optional
	Languages []string `json:"languages,omitempty"`
	// Tenants that the client may be of.
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +optional
	Tenants []string `json:"tenants,omitempty"`
	// Classifications: values of the header Polder-Classification.
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +optional
	Classifications []string `json:"classifications,omitempty"`
	// Headers by name, with the value that they must have.
	// +kubebuilder:validation:MaxProperties=16
	// +optional
	Headers map[string]string `json:"headers,omitempty"`
	// BytesMin and BytesMax bound the body's size; 0: no bound.
	// +kubebuilder:validation:Minimum=0
	// +optional
	BytesMin int64 `json:"bytesMin,omitempty"`
	// +kubebuilder:validation:Minimum=0
	// +optional
	BytesMax int64 `json:"bytesMax,omitempty"`
}

// RouteWeight is one side of a split.
type RouteWeight struct {
	// Target by name.
	Target string `json:"target"`
	// Weight beside the others'.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	Weight int32 `json:"weight"`
}

// Cascade asks the specialist, and the general model when the specialist is not sure.
//
// +kubebuilder:validation:XValidation:rule="has(self.threshold) != has(self.learn)",message="give one of threshold and learn"
type Cascade struct {
	// Specialist and General are targets.
	Specialist string `json:"specialist"`
	General    string `json:"general"`
	// Output is the tensor that tells how sure the specialist is: probabilities of classes
	// or their logits, per row. Empty: the one called probabilities or logits, else the only
	// one of two dimensions. Of text, the mean probability of the answer's tokens tells.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Output string `json:"output,omitempty"`
	// Threshold of the margin between the two likeliest classes, 0 to 1, below which the
	// general model is asked, as a decimal number.
	// +kubebuilder:validation:Pattern=`^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$`
	// +optional
	Threshold string `json:"threshold,omitempty"`
	// Learn the threshold from an evaluation of both.
	// +optional
	Learn *CascadeLearning `json:"learn,omitempty"`
}

// CascadeLearning says what a threshold is learned from, and to what end.
//
// +kubebuilder:validation:XValidation:rule="has(self.escalationMax) != has(self.qualityMin)",message="give one of escalationMax and qualityMin"
type CascadeLearning struct {
	// Evaluation of the same namespace that has judged the models of both targets on the
	// same rows.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Evaluation string `json:"evaluation"`
	// EscalationMax is the share of requests that may go on to the general model, as a
	// decimal number: the best quality at that cost is sought.
	// +kubebuilder:validation:Pattern=`^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$`
	// +optional
	EscalationMax string `json:"escalationMax,omitempty"`
	// QualityMin is the quality to reach, as a decimal number: the lowest cost is sought.
	// +kubebuilder:validation:Pattern=`^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$`
	// +optional
	QualityMin string `json:"qualityMin,omitempty"`
}

// Shadow gets copies.
type Shadow struct {
	// Target by name.
	Target string `json:"target"`
	// Percent of the requests that are copied.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Percent int32 `json:"percent"`
}

// RouteLimits of each client, that is of each tenant's key or user.
type RouteLimits struct {
	// RequestsPerSecond, on average; 0: no limit.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	RequestsPerSecond int32 `json:"requestsPerSecond,omitempty"`
	// Burst of requests at once; 0: as many as in a second.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	Burst int32 `json:"burst,omitempty"`
	// BudgetPerDay of each tenant, in the unit of the targets' cost, as a decimal number;
	// requests beyond are answered 429 until midnight UTC. Empty: none.
	// +kubebuilder:validation:Pattern=`^[0-9]{1,12}(\.[0-9]{1,9})?$`
	// +optional
	BudgetPerDay string `json:"budgetPerDay,omitempty"`
}

// RouteCache keeps answers of 200.
type RouteCache struct {
	// Seconds that an answer is good for.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	Seconds int32 `json:"seconds"`
	// BytesMax of all answers.
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:default=67108864
	// +optional
	BytesMax int64 `json:"bytesMax,omitempty"`
}

// RouteLog says where requests are kept.
type RouteLog struct {
	// Bucket and prefix that records are written below, as JSON lines.
	Bucket BucketSource `json:"bucket"`
	// Percent of the requests that are kept.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +kubebuilder:default=100
	// +optional
	Percent int32 `json:"percent,omitempty"`
	// Redact lists patterns (RE2); what fits is replaced by [redacted] before a record is
	// kept.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=512
	// +listType=set
	// +optional
	Redact []string `json:"redact,omitempty"`
}

// ModelRouteStatus: observed is written by the gateway, the rest by the controller of
// routes.
type ModelRouteStatus struct {
	// ObservedGeneration of the spec that the rest is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// URL below which the gateway serves it.
	// +optional
	URL string `json:"url,omitempty"`
	// Cascade is what was learned for the first rule that has one.
	// +optional
	Cascade *CascadeStatus `json:"cascade,omitempty"`
	// Observed is what has become of requests lately.
	// +optional
	Observed *RouteObserved `json:"observed,omitempty"`
	// Conditions: Accepted, Ready, Learned of routes that learn a threshold, and the gateway's
	// own: Drift, which is True when the route behaves otherwise than where its threshold was
	// learned, and, of routes with a log, Logged.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ConditionLearned: the threshold was learned, from what the targets serve.
const ConditionLearned = "Learned"

// Conditions of routes that the gateway writes. Drift: the route behaves otherwise than
// where its threshold was learned. Logged: records are written to the bucket.
const (
	ConditionDrift  = "Drift"
	ConditionLogged = "Logged"
)

// CascadeStatus is a threshold, what is expected of it, and the controls: what would be
// had without a cascade. All numbers are decimal.
type CascadeStatus struct {
	// Threshold in use.
	Threshold string `json:"threshold"`
	// Specialist and General are the services that it was learned for.
	// +optional
	Specialist string `json:"specialist,omitempty"`
	// +optional
	General string `json:"general,omitempty"`
	// Evaluation that it was learned from, by the digest of its report.
	// +optional
	Evaluation string `json:"evaluation,omitempty"`
	// Rows that it was learned from.
	// +optional
	Rows int64 `json:"rows,omitempty"`
	// Disagreement that is expected: the share of the rows that go on which both answer
	// otherwise; and the upper end of its interval of 95 %.
	// +optional
	Disagreement string `json:"disagreement,omitempty"`
	// +optional
	DisagreementHigh string `json:"disagreementHigh,omitempty"`
	// Expected of the cascade.
	// +optional
	Expected *RouteQuality `json:"expected,omitempty"`
	// Cheapest: the specialist alone. Strongest: the general model alone. Split: the best
	// fixed mix of both at the cascade's cost.
	// +optional
	Cheapest *RouteQuality `json:"cheapest,omitempty"`
	// +optional
	Strongest *RouteQuality `json:"strongest,omitempty"`
	// +optional
	Split *RouteQuality `json:"split,omitempty"`
	// Verdict in a sentence: whether the cascade is better than the mix.
	// +optional
	Verdict string `json:"verdict,omitempty"`
}

// RouteQuality is what a way of routing gives.
type RouteQuality struct {
	// Quality: the share of right answers, and its confidence interval of 95 %.
	Quality string `json:"quality"`
	// +optional
	Low string `json:"low,omitempty"`
	// +optional
	High string `json:"high,omitempty"`
	// Escalation: the share of requests that the general model answers; and the upper end
	// of its interval of 95 %, where it was found and not chosen.
	Escalation string `json:"escalation"`
	// +optional
	EscalationHigh string `json:"escalationHigh,omitempty"`
	// Cost of a thousand requests.
	// +optional
	Cost string `json:"cost,omitempty"`
}

// RouteObserved counts since the gateway started. Of a cascade each row of a request counts
// as one, as where its threshold was learned.
type RouteObserved struct {
	// Requests, and how many of them went on to the general model.
	Requests  int64 `json:"requests"`
	Escalated int64 `json:"escalated"`
	// Compared answers of both models to the same request, and how many disagreed.
	// +optional
	Compared int64 `json:"compared,omitempty"`
	// +optional
	Disagreed int64 `json:"disagreed,omitempty"`
	// Recent share of the requests that went on, over the latest, as a decimal number.
	// +optional
	RecentEscalation string `json:"recentEscalation,omitempty"`
	// Time of the count.
	// +optional
	Time *metav1.Time `json:"time,omitempty"`
}

// ModelRouteList is a list of ModelRoutes.
//
// +kubebuilder:object:root=true
type ModelRouteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ModelRoute `json:"items"`
}
