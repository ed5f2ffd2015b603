package eval

// Version of the report's form; docs/formats/evaluation.md describes it.
const Version = 1

// Bounds of a report.
const (
	BytesMax       = 8 << 20 // of its JSON
	AnswersMax     = 20_000  // rows whose answers are kept, each model
	ModelsMax      = 8
	ClassesMax     = 4096
	SlicesMax      = 256 // values of all slice columns together
	ComparisonsMax = 64
	OriginsMax     = 64 // of a model
)

// Tasks, as in the API.
const (
	TaskClassification = "classification"
	TaskRegression     = "regression"
	TaskForecast       = "forecast"
	TaskGeneration     = "generation"
)

// Names of metrics. Quality is between 0 and 1 and more is better, but for mae and rmse,
// which are in the unit of the label, less is better; score is whatever the user's program
// gives, more is better.
const (
	Accuracy    = "accuracy"
	F1          = "f1"  // macro: the mean over classes
	AUC         = "auc" // area under the curve; with several classes the mean of one against the rest
	ExactMatch  = "exact_match"
	TokenF1     = "token_f1" // words that both texts have
	RougeL      = "rouge_l"  // words that both texts have in the same order
	MAE         = "mae"
	RMSE        = "rmse"
	Score       = "score"
	LatencyP50  = "latency_p50_seconds" // of one request with one row
	LatencyP99  = "latency_p99_seconds"
	Throughput  = "throughput_rows_per_second" // with batches
	TokenRate   = "tokens_per_second"          // of texts, where the service counts them
	CostPer1K   = "cost_per_1000"
	EnergyPer1K = "energy_joules_per_1000"
)

// Report is everything that an evaluation has found.
type Report struct {
	Version int    `json:"version"`
	Task    string `json:"task"`
	// Seed of all that was drawn by chance.
	Seed int64 `json:"seed"`
	Data Data  `json:"data"`
	// Metric that verdicts are about: accuracy, mae, exact_match or score.
	Metric string `json:"metric"`
	// Models in the order of the evaluation; the first is the candidate.
	Models []Model `json:"models"`
	// Comparisons of the candidate with each of the others.
	Comparisons []Comparison `json:"comparisons,omitempty"`
	// Regressions are slices in which the candidate is significantly worse than another.
	Regressions []Regression `json:"regressions,omitempty"`
	// Contamination is told when the training data was given.
	Contamination *Contamination `json:"contamination,omitempty"`
	// Requirements and whether they are met.
	Requirements []Judgement `json:"requirements,omitempty"`
	// Passed: all requirements are met.
	Passed bool `json:"passed"`
	// Verdict in sentences.
	Verdict string `json:"verdict"`
	// Notes say what a reader must know: that rows were sampled, that slices were left out.
	Notes []string `json:"notes,omitempty"`
	// Sample says which rows the answers of models are about.
	Sample *Sample `json:"sample,omitempty"`
	// Machine that models ran on.
	Machine *Machine `json:"machine,omitempty"`
}

// Data that models were judged on.
type Data struct {
	// Digest of the file that was read: sha256:HEX.
	Digest string `json:"digest,omitempty"`
	File   string `json:"file,omitempty"`
	// Label is the column of right answers, by name or number from 1.
	Label string `json:"label,omitempty"`
	// Features in the order in which models were given them.
	Features []string `json:"features,omitempty"`
	// Rows that were judged, and where in the table the first is, from 0.
	Rows int64 `json:"rows"`
	From int64 `json:"from,omitempty"`
	// Classes of a classification, in the order by which answers number them.
	Classes []string `json:"classes,omitempty"`
}

// Model is one model's numbers.
type Model struct {
	Name string `json:"name"`
	// Reference and digest of the artifact, or the service or route that was asked.
	Reference string `json:"reference,omitempty"`
	Digest    string `json:"digest,omitempty"`
	Service   string `json:"service,omitempty"`
	Route     string `json:"route,omitempty"`
	// By says who has answered the rows, of a service or route, as far as answers tell.
	By []Origin `json:"by,omitempty"`
	// Metrics by name.
	Metrics map[string]Metric `json:"metrics"`
	Slices  []Slice           `json:"slices,omitempty"`
	// Confusion: row of it is the expected class, column the predicted one. Left out with
	// more than 64 classes.
	Confusion [][]int64 `json:"confusion,omitempty"`
	// Calibration: what share of the answers with a certain confidence is right.
	Calibration []Bin    `json:"calibration,omitempty"`
	Latency     *Latency `json:"latency,omitempty"`
	// Answers row by row, of the rows of the report's sample.
	Answers *Answers `json:"answers,omitempty"`
}

// Origin is who has answered some rows.
type Origin struct {
	// Target of a route.
	Target string `json:"target,omitempty"`
	// Revision of a service, and digest of the model that it serves.
	Revision string `json:"revision,omitempty"`
	Digest   string `json:"digest,omitempty"`
	Rows     int64  `json:"rows"`
}

// Metric is a number with its confidence interval of 95 %.
type Metric struct {
	Value float64  `json:"value"`
	Low   *float64 `json:"low,omitempty"`
	High  *float64 `json:"high,omitempty"`
	// Method that gave the interval: wilson, tango, bootstrap (percentile), order.
	Method string `json:"method,omitempty"`
}

// Slice is the rows whose column has a value.
type Slice struct {
	Column string `json:"column"`
	Value  string `json:"value"`
	Rows   int64  `json:"rows"`
	// Few: too few rows to say anything; there is no interval and no test.
	Few     bool              `json:"few,omitempty"`
	Metrics map[string]Metric `json:"metrics"`
}

// Bin of a calibration curve: answers with a confidence from From up to, but without, To.
type Bin struct {
	From       float64 `json:"from"`
	To         float64 `json:"to"`
	Rows       int64   `json:"rows"`
	Confidence float64 `json:"confidence"` // mean
	Accuracy   float64 `json:"accuracy"`
}

// Latency of requests with one row each, one after the other.
type Latency struct {
	Requests int64 `json:"requests"`
	// Bounds of the histogram's buckets in seconds, rising; Counts has one more, for what
	// is above the last.
	Bounds []float64 `json:"bounds"`
	Counts []int64   `json:"counts"`
}

// Sample says which rows of the table answers are about, and what was right.
type Sample struct {
	// Rows by their number in the table, from 0, rising.
	Rows []int64 `json:"rows"`
	// Expected class of each, by its number in data.classes; absent for other tasks.
	Expected []int `json:"expected,omitempty"`
	// Values expected; of a regression only.
	Values []float64 `json:"values,omitempty"`
}

// Answers of one model, in the order of the sample.
type Answers struct {
	// Predicted class of each, by its number in data.classes; -1: none of them.
	Predicted []int `json:"predicted,omitempty"`
	// Correct answers, as a string of 0 and 1.
	Correct Bits `json:"correct,omitempty"`
	// Margin between the two likeliest probabilities, 0 to 1, rounded to 1e-6; absent when
	// the model gave no probabilities.
	Margin []float64 `json:"margin,omitempty"`
	// Values predicted; of a regression only.
	Values []float64 `json:"values,omitempty"`
	// Scores of the user's program, or of exact match.
	Scores []float64 `json:"scores,omitempty"`
}

// Comparison of the candidate with another model, on the same rows.
type Comparison struct {
	With   string `json:"with"`
	Metric string `json:"metric"`
	// Difference is candidate minus the other.
	Difference Metric `json:"difference"`
	// Gained: rows that only the candidate has right; Lost: rows that only the other has.
	// Of an accuracy or exact match only.
	Gained int64 `json:"gained,omitempty"`
	Lost   int64 `json:"lost,omitempty"`
	// Test: mcnemar, permutation.
	Test string `json:"test"`
	// P of such a difference or a larger one if there were none; Adjusted after Holm, over
	// all comparisons of the report.
	P        float64 `json:"p"`
	Adjusted float64 `json:"adjusted"`
	// Verdict: better, worse, none.
	Verdict string `json:"verdict"`
	// Sentence that says it.
	Sentence string `json:"sentence"`
}

// Verdicts of a comparison.
const (
	Better = "better"
	Worse  = "worse"
	None   = "none"
)

// Regression is a slice in which the candidate is worse than another model.
type Regression struct {
	Column     string  `json:"column"`
	Value      string  `json:"value"`
	Rows       int64   `json:"rows"`
	With       string  `json:"with"`
	Metric     string  `json:"metric"`
	Difference float64 `json:"difference"`
	// Adjusted p after Holm, over all slices and models.
	Adjusted float64 `json:"adjusted"`
}

// Contamination counts rows that are in the training data, too.
type Contamination struct {
	TrainRows int64 `json:"trainRows"`
	// Exact: all features are the same. Near: all but one are.
	Exact int64 `json:"exact"`
	Near  int64 `json:"near"`
	// Labels: rows among the exact ones with the same label.
	Labels int64 `json:"labels"`
	// Rows: the first hundred, by number in the table.
	Rows []int64 `json:"rows,omitempty"`
}

// Judgement of one requirement.
type Judgement struct {
	Requirement
	Met bool `json:"met"`
	// Reason in a sentence.
	Reason string `json:"reason"`
}

// Requirement is a bound of one metric, of the candidate.
type Requirement struct {
	Metric       string   `json:"metric"`
	Min          *float64 `json:"min,omitempty"`
	Max          *float64 `json:"max,omitempty"`
	NotWorseThan string   `json:"notWorseThan,omitempty"`
}

// Machine that models ran on.
type Machine struct {
	Processor string `json:"processor,omitempty"`
	Threads   int    `json:"threads,omitempty"`
	Sandbox   string `json:"sandbox,omitempty"`
}
