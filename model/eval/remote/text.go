package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"polder.dev/polder/model/eval/trial"
)

// Writer answers prompts by OpenAI's API: a chat of one message each, or of two where
// there is a system's. Nothing is left to chance that can be ruled out.
type Writer struct {
	g   *Gateway
	e   trial.Entrant
	ask chat
}

var _ trial.Writer = (*Writer)(nil)

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type chat struct {
	Model       string    `json:"model"`
	Messages    []message `json:"messages"`
	Temperature float64   `json:"temperature"`
	Seed        int64     `json:"seed"`
	MaxTokens   int32     `json:"max_tokens,omitempty"`
}

// Writer returns what asks a service or route as the plan says.
func (g *Gateway) Writer(p *trial.Plan, e trial.Entrant) *Writer {
	w := &Writer{g: g, e: e, ask: chat{Model: e.Service, Seed: p.Seed, MaxTokens: p.TokensMax}}
	if e.Route != "" {
		w.ask.Model = e.Route
	}
	if p.System != "" {
		w.ask.Messages = []message{{"system", p.System}}
	}
	return w
}

// Write implements trial.Writer.
func (w *Writer) Write(ctx context.Context, prompt string) (trial.Written, error) {
	q := w.ask
	q.Messages = append(q.Messages[:len(q.Messages):len(q.Messages)], message{"user", prompt})
	body, err := json.Marshal(q)
	if err != nil {
		return trial.Written{}, err
	}
	a, err := w.g.ask(ctx, &w.e, http.MethodPost, "/v1/chat/completions", body)
	if err != nil {
		return trial.Written{}, err
	}
	var said struct {
		Choices []struct {
			Message struct {
				Content *string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
		Usage struct {
			Tokens int64 `json:"completion_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(a.body, &said); err != nil {
		return trial.Written{}, fmt.Errorf("%s: its answer is none of OpenAI's API: %w", w.e.What(), err)
	}
	if len(said.Choices) == 0 {
		return trial.Written{}, fmt.Errorf("%s: its answer has no choices", w.e.What())
	}
	text := "" // as of one whose tokens were used up before it came to its answer
	if c := said.Choices[0].Message.Content; c != nil {
		text = strings.ToValidUTF8(*c, "?")
	}
	out := trial.Written{Text: text, Tokens: max(said.Usage.Tokens, 0), Sent: a.sent}
	out.Sent.By = a.by(&w.e, "", 1)
	return out, nil
}
