package trial

import (
	"bufio"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"polder.dev/polder/model/eval"
)

// A trial with a program has two parts, with the program between them: the first has the
// models answer and writes what the program reads, the second reads what the program
// wrote and judges. StageVariable says which part is meant.
const (
	StageVariable = "POLDER_EVALUATION_STAGE"
	StageAnswer   = "answer"
	StageJudge    = "judge"
)

// Where the parts and the program leave things. The program sees nothing of DirState.
const (
	DirState    = "/polder/state"
	DirAnswers  = "/polder/answers"
	DirScores   = "/polder/scores"
	FileState   = "state"
	FileAnswers = "answers.jsonl"
	FileScores  = "scores.jsonl"
)

// scoreLineMax is the longest line that a program may write.
const scoreLineMax = 1 << 20

// asked is a line that a program reads.
type asked struct {
	Row      int64  `json:"row"`
	Model    string `json:"model"`
	Prompt   string `json:"prompt,omitempty"`
	Expected any    `json:"expected"`
	Answer   any    `json:"answer"`
}

// WriteAnswers writes what a program reads: a line for each answer, model by model, with
// the fields row, model, expected and answer. Classes are called by their names, and
// an answer that is none of them is null; values of a forecast are lists. Of a generation
// there is also the prompt.
func WriteAnswers(w io.Writer, in *eval.Input) error {
	out := bufio.NewWriter(w)
	e := json.NewEncoder(out)
	for m := range in.Models {
		for i, row := range in.Rows {
			line := asked{Row: row, Model: in.Models[m].Name}
			switch in.Task {
			case eval.TaskClassification:
				line.Expected = in.Data.Classes[in.Expected[i]]
				if c := in.Models[m].Predicted[i]; c >= 0 {
					line.Answer = in.Data.Classes[c]
				}
			case eval.TaskGeneration:
				line.Prompt, line.Expected, line.Answer = in.Prompts[i], in.ExpectedText[i], in.Models[m].Text[i]
			default:
				h := max(in.Horizon, 1)
				line.Expected, line.Answer = numbersOf(in.ExpectedValues[i*h:(i+1)*h]), numbersOf(in.Models[m].Values[i*h:(i+1)*h])
			}
			if err := e.Encode(line); err != nil {
				return fmt.Errorf("writing answers: %w", err)
			}
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing answers: %w", err)
	}
	return nil
}

// numbersOf is one number, or a list of several.
func numbersOf(v []float64) any {
	if len(v) == 1 {
		return v[0]
	}
	return v
}

// ReadScores takes what a program wrote into in: a line with row, model and score for each
// answer, in any order.
func ReadScores(r io.Reader, in *eval.Input) error {
	at := make(map[int64]int, len(in.Rows))
	for i, row := range in.Rows {
		at[row] = i
	}
	model := make(map[string]int, len(in.Models))
	for i := range in.Models {
		model[in.Models[i].Name] = i
		in.Models[i].Scores = make([]float64, len(in.Rows))
		for j := range in.Models[i].Scores {
			in.Models[i].Scores[j] = math.NaN()
		}
	}
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 4096), scoreLineMax)
	lines, want := 0, len(in.Rows)*len(in.Models)
	for s.Scan() {
		if len(s.Bytes()) == 0 {
			continue
		}
		if lines++; lines > want {
			return fmt.Errorf("the program wrote more than the %d scores that were asked of it", want)
		}
		var got struct {
			Row   *int64   `json:"row"`
			Model string   `json:"model"`
			Score *float64 `json:"score"`
		}
		if err := json.Unmarshal(s.Bytes(), &got); err != nil || got.Row == nil || got.Score == nil {
			return fmt.Errorf("line %d that the program wrote is no object with row, model and score: %.64q", lines, s.Bytes())
		}
		m, known := model[got.Model]
		i, there := at[*got.Row]
		if !known || !there {
			return fmt.Errorf("line %d that the program wrote is about row %d of model %.64q, which it was not asked of", lines, *got.Row, got.Model)
		}
		if !math.IsNaN(in.Models[m].Scores[i]) {
			return fmt.Errorf("the program wrote two scores of row %d of model %s", *got.Row, got.Model)
		}
		in.Models[m].Scores[i] = *got.Score
	}
	if err := s.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("line %d that the program wrote is longer than %d bytes", lines+1, scoreLineMax)
	} else if err != nil {
		return &Trouble{fmt.Errorf("reading scores: %w", err)}
	}
	if lines < want {
		return fmt.Errorf("the program wrote %d scores, %d were asked of it", lines, want)
	}
	return nil
}

// Save keeps answers for the second part, and Load reads them.
func Save(w io.Writer, in *eval.Input) error {
	if err := gob.NewEncoder(w).Encode(in); err != nil {
		return &Trouble{fmt.Errorf("keeping answers: %w", err)}
	}
	return nil
}

// Load reads what Save kept.
func Load(r io.Reader) (*eval.Input, error) {
	var in eval.Input
	if err := gob.NewDecoder(r).Decode(&in); err != nil {
		return nil, &Trouble{fmt.Errorf("reading answers: %w", err)}
	}
	return &in, nil
}
