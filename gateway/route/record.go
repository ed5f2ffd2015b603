package route

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/model/infer"
	rules "polder.dev/polder/model/route"
)

// record is a line of the log (docs/formats/request-log.md).
type record struct {
	Timestamp  int64           `json:"timestamp"` // Unix seconds
	WorkloadID string          `json:"workload_id"`
	ClientID   string          `json:"client_id"`
	Request    json.RawMessage `json:"request"`
	Response   json.RawMessage `json:"response"`
}

// raw is a request with its answer before it became a record.
type raw struct {
	route     *live
	log       *v1alpha1.RouteLog
	redact    []*regexp.Regexp
	timestamp int64
	workload  string
	client    string
	protocol  v1alpha1.Protocol
	request   []byte
	response  []byte
	// of binary data in both
	requestHeader, responseHeader http.Header
}

func (r *raw) size() int64 { return int64(len(r.request) + len(r.response)) }

// record hands a request and its answer to the journal.
func (p *pass) record(header http.Header, body []byte, whole bool) {
	workload := p.call.Name
	if task := p.r.Header.Get(rules.HeaderTask); task != "" {
		workload += "/" + task
	}
	if !whole || p.call.Body == nil {
		p.gauges.logged(p.live.key, "unreadable")
		return
	}
	p.journal.add(&raw{
		route: p.live, log: p.settings.route.Log, redact: p.settings.route.Redact,
		timestamp: p.began.Unix(), workload: workload, client: p.call.Client.ID(), protocol: p.call.Protocol,
		request: p.call.Body, response: body, requestHeader: p.r.Header, responseHeader: header,
	})
}

// line is the record as it is kept.
func (r *raw) line() ([]byte, error) {
	request, response := r.request, r.response
	var err error
	if r.protocol == v1alpha1.ProtocolV2 {
		if request, err = plainRequest(r.requestHeader, request); err != nil {
			return nil, err
		}
		if response, err = plainResponse(r.responseHeader, response); err != nil {
			return nil, err
		}
	}
	if strings.HasPrefix(r.responseHeader.Get("Content-Type"), "text/event-stream") {
		if response, err = joined(response); err != nil {
			return nil, err
		}
	}
	out := record{Timestamp: r.timestamp}
	if out.Request, err = rules.Redact(request, r.redact); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	if out.Response, err = rules.Redact(response, r.redact); err != nil {
		return nil, fmt.Errorf("response: %w", err)
	}
	out.WorkloadID, out.ClientID = redacted(r.workload, r.redact), redacted(r.client, r.redact)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(out); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func redacted(s string, patterns []*regexp.Regexp) string {
	for _, p := range patterns {
		s = p.ReplaceAllLiteralString(s, rules.Redacted)
	}
	return s
}

// plainRequest is a request without binary data.
func plainRequest(h http.Header, body []byte) ([]byte, error) {
	if h.Get(infer.HeaderLength) == "" {
		return body, nil
	}
	n, err := infer.ParseHeaderLength(h.Get(infer.HeaderLength), len(body))
	if err != nil {
		return nil, err
	}
	r, err := infer.DecodeRequest(body, n, inferLimits)
	if err != nil {
		return nil, err
	}
	plain(r.Inputs)
	out, _, err := r.Append(nil)
	return out, err
}

func plainResponse(h http.Header, body []byte) ([]byte, error) {
	if h.Get(infer.HeaderLength) == "" {
		return body, nil
	}
	r, err := decoded(h, body)
	if err != nil {
		return nil, err
	}
	plain(r.Outputs)
	out, _, err := r.Append(nil)
	return out, err
}

func plain(tensors []infer.Tensor) {
	for i := range tensors {
		tensors[i].Binary = false
	}
}

// joined puts the pieces of a streamed chat or completion together, as if it had come at
// once. Of each choice the text and the reason of its end are kept.
func joined(body []byte) ([]byte, error) {
	type choice struct {
		Index   int     `json:"index"`
		Message *said   `json:"message,omitempty"`
		Text    *string `json:"text,omitempty"`
		Finish  *string `json:"finish_reason"`
	}
	var out struct {
		ID      string    `json:"id,omitempty"`
		Object  string    `json:"object,omitempty"`
		Model   string    `json:"model,omitempty"`
		Choices []*choice `json:"choices"`
	}
	byIndex := map[int]*choice{}
	for line := range bytes.Lines(body) {
		data, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data:"))
		data = bytes.TrimSpace(data)
		if !ok || len(data) == 0 || string(data) == "[DONE]" {
			continue
		}
		var piece struct {
			ID, Object, Model string
			Choices           []struct {
				Index  int
				Delta  *said
				Text   *string
				Finish *string `json:"finish_reason"`
			}
		}
		if err := json.Unmarshal(data, &piece); err != nil {
			return nil, fmt.Errorf("a piece of the stream: %w", err)
		}
		out.ID, out.Object, out.Model = piece.ID, strings.TrimSuffix(piece.Object, ".chunk"), piece.Model
		for _, c := range piece.Choices {
			at := byIndex[c.Index]
			if at == nil {
				if len(byIndex) == choicesMax {
					return nil, fmt.Errorf("the stream has more than %d choices", choicesMax)
				}
				at = &choice{Index: c.Index}
				byIndex[c.Index] = at
				out.Choices = append(out.Choices, at)
			}
			if c.Delta != nil {
				if at.Message == nil {
					at.Message = &said{Role: "assistant"}
				}
				at.Message.Content += c.Delta.Content
			}
			if c.Text != nil {
				if at.Text == nil {
					at.Text = new(string)
				}
				*at.Text += *c.Text
			}
			if c.Finish != nil {
				at.Finish = c.Finish
			}
		}
	}
	slices.SortFunc(out.Choices, func(a, b *choice) int { return a.Index - b.Index })
	return json.Marshal(out)
}

// choicesMax of a stream that is kept.
const choicesMax = 128

// said is a message of a chat.
type said struct {
	Role    string `json:"role,omitempty"`
	Content string `json:"content"`
}
