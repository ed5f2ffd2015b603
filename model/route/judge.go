package route

import (
	"encoding/json"
	"fmt"
	"math"

	"polder.dev/polder/model/infer"
)

// Judged is what a specialist's answer says of itself.
type Judged struct {
	// Unsure rows, rising: the general model is asked about these.
	Unsure []int
	// Rows that the answer is about; a text is one.
	Rows int
	// Reason why it could not be told how sure the specialist is. All rows are unsure then:
	// what cannot be judged is not believed.
	Reason string
	// Classes that the specialist found likeliest, by row; nil of texts.
	Classes []int
}

// unknown is the judgement of what cannot be judged.
func unknown(rows int, format string, args ...any) Judged {
	j := Judged{Rows: rows, Reason: fmt.Sprintf(format, args...)}
	for i := range rows {
		j.Unsure = append(j.Unsure, i)
	}
	return j
}

// JudgeTensors judges an answer to a request of so many rows.
func (c *Cascade) JudgeTensors(resp *infer.Response, rows int) Judged {
	scores := c.scores(resp)
	if scores == nil {
		return unknown(rows, "the specialist's answer has no output %q of probabilities or logits", c.Output)
	}
	found, err := infer.Rows(scores)
	if err != nil {
		return unknown(rows, "the specialist's %v", err)
	}
	if len(found) != rows {
		return unknown(rows, "the specialist answered %d rows of %d", len(found), rows)
	}
	j := Judged{Rows: rows}
	for i, r := range found {
		j.Classes = append(j.Classes, r.Class)
		if r.Margin < c.Threshold {
			j.Unsure = append(j.Unsure, i)
		}
	}
	return j
}

func (c *Cascade) scores(resp *infer.Response) *infer.Tensor {
	if c.Output != "" {
		return resp.Output(c.Output)
	}
	return resp.Scores()
}

// Classes are the likeliest classes in an answer; nil where it does not tell.
func (c *Cascade) Classes(resp *infer.Response) []int {
	scores := c.scores(resp)
	if scores == nil {
		return nil
	}
	rows, err := infer.Rows(scores)
	if err != nil {
		return nil
	}
	out := make([]int, len(rows))
	for i, r := range rows {
		out[i] = r.Class
	}
	return out
}

// JudgeText judges an answer of OpenAI's API by the mean probability of its tokens; of
// several choices the least sure one counts.
func (c *Cascade) JudgeText(body []byte) Judged {
	var answer struct {
		Choices []struct {
			Logprobs *struct {
				Content []struct {
					Logprob float64 `json:"logprob"`
				} `json:"content"` // of chats
				TokenLogprobs []*float64 `json:"token_logprobs"` // of completions; the first may be null
			} `json:"logprobs"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return unknown(1, "the specialist's answer is no JSON object of OpenAI's form")
	}
	if len(answer.Choices) == 0 {
		return unknown(1, "the specialist's answer has no choices")
	}
	least := 1.0
	for _, one := range answer.Choices {
		var sum float64
		n := 0
		add := func(logprob float64) { sum, n = sum+math.Exp(min(logprob, 0)), n+1 }
		if one.Logprobs != nil {
			for _, t := range one.Logprobs.Content {
				add(t.Logprob)
			}
			for _, p := range one.Logprobs.TokenLogprobs {
				if p != nil {
					add(*p)
				}
			}
		}
		if n == 0 {
			return unknown(1, "the specialist's answer has no logprobs of its tokens")
		}
		least = min(least, sum/float64(n))
	}
	j := Judged{Rows: 1}
	if !(least >= c.Threshold) {
		j.Unsure = []int{0}
	}
	return j
}

// AskHow changes a request of OpenAI's API so that the answer has the probabilities of its
// tokens, and says whether it asked for them by itself.
func AskHow(body []byte, chat bool) (out []byte, asked bool, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, false, fmt.Errorf("reading the request: %w", err)
	}
	const key = "logprobs"
	switch string(fields[key]) {
	case "", "null", "false":
	case "0":
		asked = !chat
	default:
		return body, true, nil
	}
	fields[key] = json.RawMessage("true")
	if !chat {
		fields[key] = json.RawMessage("1")
	}
	out, err = json.Marshal(fields)
	return out, asked, err
}

// Unasked takes the probabilities of tokens out of an answer to who did not ask for them.
func Unasked(body []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	var choices []map[string]json.RawMessage
	if err := json.Unmarshal(fields["choices"], &choices); err != nil {
		return nil, fmt.Errorf("reading the answer's choices: %w", err)
	}
	for _, c := range choices {
		if _, has := c["logprobs"]; has {
			c["logprobs"] = json.RawMessage("null")
		}
	}
	var err error
	if fields["choices"], err = json.Marshal(choices); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// Streams: the request asks for an answer piece by piece.
func Streams(body []byte) bool {
	var r struct {
		Stream bool `json:"stream"`
	}
	return json.Unmarshal(body, &r) == nil && r.Stream
}
