package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/model/infer"
)

// Limits of what is sent and of what is read back.
const (
	askBytesMax    = 64 << 20
	answerBytesMax = 64 << 20
)

func (o *options) predict() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "predict SERVICE|ROUTE [FILE|-]", Short: "Ask a service or a route, through the gateway",
		Long: `Ask a service or a route, through the gateway, and print what it says. What is asked
comes from FILE, or from standard input.

With protocol v2 it is a request of the Open Inference Protocol, or just the rows: JSON
such as [[0.1, 0.2], [0.3, 0.4]], or a *.csv of numbers, whose columns are found by name
where it and the model name them. With protocol openai it is the
body of a request to chat/completions, completions or embeddings; with http it is sent
as it is, to --path.`,
		Example: "  echo '[[5.1, 3.5, 1.4, 0.2]]' | polder predict iris -\n  polder predict digits rows.csv\n  polder predict ocr page.png --path recognise",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usage.Errorf("%s takes SERVICE and FILE, got %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return o.completeServices(cmd, args, typed)
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		file := "-"
		if len(args) == 2 {
			file = args[1]
		}
		text, err := readAsk(cmd.InOrStdin(), file)
		if err != nil {
			return err
		}
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		a, err := newAsker(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		if path != "" && a.protocol != v1alpha1.ProtocolHTTP {
			return usage.Errorf("--path is for services of protocol http; %s speaks %s", args[0], a.protocol)
		}
		answer, err := a.ask(cmd.Context(), file, text, path)
		if err != nil {
			return err
		}
		return a.print(cmd.OutOrStdout(), answer, o.json())
	}
	cmd.Flags().StringVar(&path, "path", "", "path below the service, for protocol http")
	_ = cmd.RegisterFlagCompletionFunc("path", cobra.NoFileCompletions)
	return o.flags(cmd, "json")
}

// readAsk reads what is to be asked.
func readAsk(stdin io.Reader, file string) ([]byte, error) {
	r := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usage.Errorf("reading what to ask: %w", err)
		}
		defer f.Close()
		r = f
	}
	text, err := io.ReadAll(io.LimitReader(r, askBytesMax+1))
	if err != nil {
		return nil, usage.Errorf("reading what to ask: %w", err)
	}
	if len(text) > askBytesMax {
		return nil, usage.Errorf("%s has more than %s; ask for less at a time", file, term.Bytes(askBytesMax))
	}
	return text, nil
}

// asker asks one service or route.
type asker struct {
	client   *http.Client
	base     string // of the namespace at the gateway
	name     string
	protocol v1alpha1.Protocol
	serving  *infer.Serving // what the model says of itself; nil where it was not asked, or does not say
}

// newAsker finds the gateway, and what the service or route speaks.
func newAsker(ctx context.Context, c *kube.Client, name string) (*asker, error) {
	protocol, err := protocolOf(ctx, c, name)
	if err != nil {
		return nil, err
	}
	var m corev1.ConfigMap
	if err := c.Get(ctx, kube.Key("kube-public", "cloud"), &m); err != nil {
		return nil, fmt.Errorf("asking for the gateway: %w", err)
	}
	if m.Data["gateway"] == "" {
		return nil, fmt.Errorf("this cloud has no gateway, so %s cannot be asked", name)
	}
	client, err := c.HTTP()
	if err != nil {
		return nil, err
	}
	return &asker{client: client, base: strings.TrimSuffix(m.Data["gateway"], "/") + "/" + c.Namespace, name: name, protocol: protocol}, nil
}

// protocolOf is what a route, or else a service, of the name speaks. A route speaks what
// its targets do.
func protocolOf(ctx context.Context, c *kube.Client, name string) (v1alpha1.Protocol, error) {
	service := name
	var r v1alpha1.ModelRoute
	err := c.Get(ctx, kube.Key(c.Namespace, name), &r)
	switch {
	case err == nil && len(r.Spec.Targets) > 0:
		service = r.Spec.Targets[0].Service
	case err != nil && !apierrors.IsNotFound(err):
		return "", fmt.Errorf("reading route %s: %w", name, err)
	}
	var s v1alpha1.InferenceService
	err = c.Get(ctx, kube.Key(c.Namespace, service), &s)
	switch {
	case apierrors.IsNotFound(err) && service == name:
		return "", usage.Errorf("there is no service and no route %s in namespace %s; `polder service ls -A` lists services", name, c.Namespace)
	case apierrors.IsNotFound(err):
		return "", usage.Errorf("route %s leads to service %s, which is not there", name, service)
	case err != nil:
		return "", fmt.Errorf("reading service %s: %w", service, err)
	}
	return v1alpha1.Protocol(or(string(s.Spec.Protocol), string(v1alpha1.ProtocolV2))), nil
}

// ask sends what is to be asked, in the protocol's form.
func (a *asker) ask(ctx context.Context, file string, text []byte, path string) ([]byte, error) {
	const asJSON = "application/json"
	switch a.protocol {
	case v1alpha1.ProtocolHTTP:
		return a.send(ctx, http.MethodPost, "/http/"+a.name+"/"+strings.TrimPrefix(path, "/"), "application/octet-stream", text)
	case v1alpha1.ProtocolOpenAI:
		body, where, err := openAIBody(a.name, text)
		if err != nil {
			return nil, err
		}
		return a.send(ctx, http.MethodPost, "/v1/"+where, asJSON, body)
	}
	body, err := a.v2Body(ctx, file, text)
	if err != nil {
		return nil, err
	}
	return a.send(ctx, http.MethodPost, "/v2/models/"+a.name+"/infer", asJSON, body)
}

// send sends a request, and returns the body of a good answer.
func (a *asker) send(ctx context.Context, method, path, content string, body []byte) ([]byte, error) {
	answer, _, err := a.exchange(ctx, method, path, content, body)
	return answer, err
}

// exchange sends a request, and returns body and head of a good answer. What is wrong with
// the request is for the person to put right. Where clients are to come back soon, it does.
func (a *asker) exchange(ctx context.Context, method, path, content string, body []byte) ([]byte, http.Header, error) {
	for try := 1; ; try++ {
		answer, head, wait, err := a.once(ctx, method, path, content, body)
		if wait <= 0 || wait > comeBackMax || try == comeBackTries {
			return answer, head, err
		}
		if err := pause(ctx, wait); err != nil {
			return nil, nil, err
		}
	}
}

// How long a request that came too soon waits for its turn, and how often.
const (
	comeBackMax   = 10 * time.Second
	comeBackTries = 4
)

// once sends a request once; wait is when to come back, if it came too soon.
func (a *asker) once(ctx context.Context, method, path, content string, body []byte) (answer []byte, head http.Header, wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, 0, err
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", content)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("asking %s: %w", a.name, err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, answerBytesMax+1))
	if err != nil {
		return nil, nil, 0, fmt.Errorf("reading what %s says: %w", a.name, err)
	}
	if len(answer) > answerBytesMax {
		return nil, nil, 0, fmt.Errorf("%s says more than %s, which is not shown", a.name, term.Bytes(answerBytesMax))
	}
	if resp.StatusCode < 300 {
		return answer, resp.Header, 0, nil
	}
	err = fmt.Errorf("%s answers %s: %s", a.name, resp.Status, infer.Reason(answer))
	if resp.StatusCode == http.StatusTooManyRequests {
		seconds, _ := strconv.ParseInt(resp.Header.Get("Retry-After"), 10, 32)
		return nil, nil, time.Duration(seconds) * time.Second, err
	}
	if resp.StatusCode < 500 {
		return nil, nil, 0, usage.Error(err)
	}
	return nil, nil, 0, err
}

// print shows an answer: of a classifier the likeliest class of each row, of others what
// they say.
func (a *asker) print(w io.Writer, answer []byte, asJSON bool) error {
	if a.protocol == v1alpha1.ProtocolV2 && !asJSON {
		if rows := classRows(answer, a.serving); rows != nil {
			return term.Table(w, rows)
		}
	}
	if a.protocol != v1alpha1.ProtocolHTTP {
		var b bytes.Buffer
		if json.Indent(&b, answer, "", "  ") == nil {
			answer = append(b.Bytes(), '\n')
		}
	}
	_, err := w.Write(answer)
	return err
}

// classRows is what a classifier says, as a table; nil if it is not that.
func classRows(answer []byte, serving *infer.Serving) [][]string {
	r, err := infer.DecodeResponse(answer, len(answer), infer.Limits{})
	if err != nil {
		return nil
	}
	scores := r.Scores()
	if scores == nil || len(r.Outputs) != 1 {
		return nil
	}
	rows, err := infer.Rows(scores)
	if err != nil {
		return nil
	}
	out := [][]string{{"ROW", "CLASS", "PROBABILITY", "MARGIN"}}
	for i, row := range rows {
		out = append(out, []string{fmt.Sprint(i), serving.Label(row.Class), fmt.Sprintf("%.4f", row.Probability), fmt.Sprintf("%.4f", row.Margin)})
	}
	return out
}
