//go:build openai

package door

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"polder.dev/polder/gateway"
)

// upstream is a server of OpenAI's API, as a replica is one: it answers with what was asked.
func upstream(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		w.WriteHeader(http.StatusTeapot) // the gateway keeps keys back
		return
	}
	var ask struct {
		Model    string
		Stream   bool
		Input    any
		Messages []struct{ Content string }
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == "/v1/embeddings":
		fmt.Fprintf(w, `{"object":"list","model":%q,"data":[{"object":"embedding","index":0,"embedding":[0.5,-1]}],"usage":{"prompt_tokens":1,"total_tokens":1}}`, ask.Model)
	case r.URL.Path != "/v1/chat/completions":
		w.WriteHeader(http.StatusNotFound)
	case ask.Messages[0].Content == "too much":
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":{"message":"the prompt is too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`)
	case ask.Stream:
		w.Header().Set("Content-Type", "text/event-stream")
		for _, word := range strings.Fields(ask.Messages[0].Content) {
			fmt.Fprintf(w, "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":%q,\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}]}\n\n", ask.Model, word)
			_ = http.NewResponseController(w).Flush()
		}
		fmt.Fprint(w, "data: [DONE]\n\n")
	default:
		fmt.Fprintf(w, `{"id":"1","object":"chat.completion","created":1,"model":%q,"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":%q}}]}`, ask.Model, ask.Messages[0].Content)
	}
}

// TestOpenAIsOwnClient uses the gateway as OpenAI's client for Go does, told nothing but an
// address and a key.
func TestOpenAIsOwnClient(t *testing.T) {
	w, d, _ := newWorld(t, upstream)
	front := httptest.NewServer(d)
	defer front.Close()
	with := func(key string) openai.Client {
		return openai.NewClient(option.WithBaseURL(front.URL+"/team/v1"), option.WithAPIKey(key), option.WithMaxRetries(0))
	}
	c := with("good")
	say := func(model, text string) openai.ChatCompletionNewParams {
		return openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)}}
	}
	got, err := c.Chat.Completions.New(t.Context(), say("chat", "hello"))
	if err != nil || got.Choices[0].Message.Content != "hello" || got.Model != "chat" {
		t.Errorf("chat: %+v, %v", got, err)
	}
	stream := c.Chat.Completions.NewStreaming(t.Context(), say("chat", "one two three"))
	var words []string
	for stream.Next() {
		words = append(words, stream.Current().Choices[0].Delta.Content)
	}
	if stream.Err() != nil || strings.Join(words, " ") != "one two three" {
		t.Errorf("stream: %q, %v", words, stream.Err())
	}
	e, err := c.Embeddings.New(t.Context(), openai.EmbeddingNewParams{Model: "chat", Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("x")}})
	if err != nil || len(e.Data[0].Embedding) != 2 {
		t.Errorf("embeddings: %+v, %v", e, err)
	}
	models, err := c.Models.List(t.Context())
	if err != nil || len(models.Data) != 2 || models.Data[1].ID != "chat" {
		t.Errorf("models: %+v, %v", models, err)
	}
	if m, err := c.Models.Get(t.Context(), "chat"); err != nil || m.ID != "chat" || m.OwnedBy != "team" {
		t.Errorf("model: %+v, %v", m, err)
	}
	fault := func(err error) *openai.Error {
		t.Helper()
		var f *openai.Error
		if !errors.As(err, &f) {
			t.Fatalf("the client cannot read this error: %v", err)
		}
		return f
	}
	_, err = c.Chat.Completions.New(t.Context(), say("chat", "too much"))
	if f := fault(err); f.StatusCode != 400 || f.Code != "context_length_exceeded" || f.Message != "the prompt is too long" {
		t.Errorf("the replica's own error: %+v", f)
	}
	_, err = c.Chat.Completions.New(t.Context(), say("none", "x"))
	if f := fault(err); f.StatusCode != 404 || f.Code != "not_found" || f.Type != "invalid_request_error" {
		t.Errorf("no such model: %+v", f)
	}
	wrong := with("bad")
	_, err = wrong.Chat.Completions.New(t.Context(), say("chat", "x"))
	if f := fault(err); f.StatusCode != 401 || f.Type != "authentication_error" {
		t.Errorf("a wrong key: %+v", f)
	}
	w.err = gateway.Faultf(429, "too_many_waiting", "too many wait")
	_, err = c.Chat.Completions.New(t.Context(), say("chat", "x"))
	if f := fault(err); f.StatusCode != 429 || f.Type != "rate_limit_error" || f.Message != "too many wait" {
		t.Errorf("too many: %+v", f)
	}
}
