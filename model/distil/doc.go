// Package distil says what a distillation consists of: which jobs, with which data and
// parameters, what tells the teacher's answers from others, what has been used of a
// budget, and whether a student has learned anything. It is pure; the room
// model/controller/distillation carries it out, the command line shows it beforehand.
//
// The stages are, in this order: teacher (only with a teacher, and only if its answers are
// not there yet), student, evaluation (but of a policy whose actions are no labels). A
// student is registered under its name by the controller after all of them.
package distil

// The stages.
const (
	StageTeacher    = "teacher"
	StageStudent    = "student"
	StageEvaluation = "evaluation"
)

// Names of data sources in jobs, which recipes find below POLDER_DATA_DIR.
const (
	SourceData    = "data"
	SourceHeld    = "held"
	SourceTeacher = "teacher"
	SourceAnswers = "answers"
	SourceFrom    = "from"
)

// HeldFile is what a recipe leaves of its data to judge by, where the distillation names
// nothing, and HeldLabel its column of right answers.
const (
	HeldFile  = "held.csv"
	HeldLabel = "label"
)

// LabelKind of a Model that is none: answers of a teacher.
const (
	LabelKind   = "polder.dev/kind"
	KindAnswers = "answers"
)

// Source is an artifact that a distillation works with.
type Source struct {
	// Name of the Model.
	Name string
	// Digest and Reference of its artifact.
	Digest, Reference string
	// Image has the artifact's files, for pods.
	Image string
}

// Found is what a distillation names, as it was found.
type Found struct {
	// Teacher and From are models; nil where the distillation names none.
	Teacher, From *Source
	// Answers of the teacher; nil while they are not there.
	Answers *Source
	// DataDigest tells the data from other data; "" where that cannot be told, as of a
	// bucket that is read as it is.
	DataDigest string
	// Code is the image of the recipes.
	Code string
	// Recipes is the digest of the recipes.
	Recipes string
}
