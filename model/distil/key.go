package distil

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"polder.dev/polder/api/v1alpha1"
)

// Key tells a teacher's answers from others: the same teacher, data, parameters and
// recipe give the same. Where the data is not pinned by a digest the distillation is part
// of it, so answers are not taken for those of other data.
func Key(d *v1alpha1.Distillation, f *Found) string {
	what := struct {
		Method     v1alpha1.Method
		Teacher    string
		Endpoint   *v1alpha1.Endpoint `json:",omitempty"`
		Data       string
		File       string
		Label      string
		Slices     []string
		Rows       *v1alpha1.RowRange
		Parameters map[string]string
		Recipes    string
	}{
		Method: method(d), Data: f.DataDigest, File: d.Spec.Data.File, Label: d.Spec.Data.Label, Slices: d.Spec.Data.Slices,
		Rows: d.Spec.Data.Rows, Parameters: asking(d), Recipes: f.Recipes,
	}
	if f.DataDigest == "" {
		what.Data = "of distillation " + string(d.UID)
	}
	if f.Teacher != nil {
		what.Teacher = f.Teacher.Digest
	}
	if t := d.Spec.Teacher; t != nil && t.Endpoint != nil {
		e := *t.Endpoint
		e.Key, e.RequestTimeoutSeconds = nil, 0 // who asks, and how patiently, changes no answer
		what.Endpoint = &e
	}
	b, err := json.Marshal(what)
	if err != nil {
		panic(fmt.Sprintf("distil: a key cannot be written: %v", err)) // strings and numbers alone
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// AnswersName is the Model that holds the answers of a key.
func AnswersName(key string) string { return "answers-" + key[:16] }
