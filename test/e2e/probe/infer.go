package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// infer serves a classifier of two classes at :PORT by the Open Inference Protocol: the one
// feature of a row, more SHIFT, is the probability of class 1. So a test knows how sure it
// is of each row, and who has answered.
func infer(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("infer takes PORT and SHIFT, got %q", args)
	}
	shift, err := strconv.ParseFloat(args[1], 64)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/health/ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /v2/models/{name}/infer", func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Inputs []struct{ Data []float64 }
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || len(q.Inputs) != 1 {
			http.Error(w, `{"error":"one input, please"}`, http.StatusBadRequest)
			return
		}
		p := []float64{}
		for _, x := range q.Inputs[0].Data {
			one := min(max(x+shift, 0), 1)
			p = append(p, 1-one, one)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"model_name": r.PathValue("name"), "outputs": []any{
			map[string]any{"name": "probabilities", "datatype": "FP32", "shape": []int{len(p) / 2, 2}, "data": p},
		}}) // who has gone is answered nothing
	})
	return answer(ctx, &http.Server{Addr: ":" + args[0], ReadHeaderTimeout: answerLimit, Handler: mux})
}

// answer serves until it is told to end, and then what has come.
func answer(ctx context.Context, s *http.Server) error {
	ended := make(chan error, 1)
	go func() { ended <- s.ListenAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(last); err != nil && !strings.Contains(err.Error(), "closed") {
		return err
	}
	return nil
}

// chat serves OpenAI's API at :PORT: it answers with the last word that it was told, as a
// sentence.
func chat(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("chat takes PORT, got %q", args)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Messages []struct{ Content string } }
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || len(q.Messages) == 0 {
			http.Error(w, `{"error":{"message":"messages, please"}}`, http.StatusBadRequest)
			return
		}
		words := strings.Fields(q.Messages[len(q.Messages)-1].Content)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"choices": []any{map[string]any{"message": map[string]any{"role": "assistant", "content": "The " + words[len(words)-1] + "."}}},
			"usage":   map[string]any{"completion_tokens": 3},
		}) // who has gone is answered nothing
	})
	return answer(ctx, &http.Server{Addr: ":" + args[0], ReadHeaderTimeout: answerLimit, Handler: mux})
}
