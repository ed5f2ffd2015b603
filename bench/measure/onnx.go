package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"polder.dev/polder/model/infer"
	"polder.dev/polder/model/infer/infertest"
)

// What the servers of models are asked: a specialist of 2,410 parameters, a row at a time.
const (
	onnxFeatures = 64
	onnxClasses  = 10
	onnxRate     = 2000 // requests per second
	onnxSeconds  = 10   // of each run
	onnxClients  = 8    // connections, at the rate
	onnxClosed   = 4    // connections, as fast as answers come
)

// modelServer is a server of models and what it is sent.
type modelServer struct {
	name    string
	address string
	request []byte
	process *exec.Cmd
}

// measureONNX: the server of models over HTTP on loopback, beside a handler of net/http
// that does nothing but call onnxruntime, in turns, with binary data and with JSON. It
// needs -polder, for the server beside it, and a C compiler.
func measureONNX(ctx context.Context, b *bench) (err error) {
	dir := filepath.Join(b.storeDir, "onnx")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	net64 := infertest.Random(1, onnxFeatures, 32, onnxClasses)
	model := filepath.Join(dir, infer.ModelFile)
	if err := os.WriteFile(model, net64.Bytes(), 0o644); err != nil {
		return err
	}
	ours, bare, err := modelServers(ctx, b, dir, model)
	defer func() {
		for _, s := range []*modelServer{ours, bare} {
			if s != nil && s.process != nil {
				err = errors.Join(err, s.stop())
			}
		}
	}()
	if err != nil {
		return err
	}
	row := make([]float32, onnxFeatures)
	for i := range row {
		row[i] = float32(math.Sin(float64(i)))
	}
	for _, form := range []string{"binary data", "JSON"} {
		if err := ours.prepare(form, "/v2/models/m/infer", "/v2/models/m/infer", row, false); err != nil {
			return err
		}
		if err := bare.prepare(form, "/binary", "/json", row, true); err != nil {
			return err
		}
		if err := compareServers(ctx, b, form, ours, bare); err != nil {
			return err
		}
	}
	return nil
}

// modelServers starts both.
func modelServers(ctx context.Context, b *bench, dir, model string) (ours, bare *modelServer, err error) {
	libexec := filepath.Join(filepath.Dir(b.cloud.program), "libexec", "polder")
	library := "POLDER_ONNXRUNTIME=" + filepath.Join(libexec, "libonnxruntime.so.1")
	build := exec.CommandContext(ctx, "go", "-C", "bench/onnx", "build", "-o", filepath.Join(dir, "bare"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("building bench/onnx: %w: %s", err, out)
	}
	ours, bare = &modelServer{name: "polder-onnx"}, &modelServer{name: "bare handler"}
	for _, s := range []*modelServer{ours, bare} {
		if s.address, err = freeAddress(); err != nil {
			return nil, nil, err
		}
	}
	_, port, err := net.SplitHostPort(ours.address)
	if err != nil {
		return nil, nil, err
	}
	ours.process = exec.Command(filepath.Join(libexec, "polder-onnx"), "serve")
	ours.process.Env = append(os.Environ(), "PORT="+port, "POLDER_MODEL_DIR="+filepath.Dir(model), "POLDER_MODEL_NAME=m")
	bare.process = exec.Command(filepath.Join(dir, "bare"), model, bare.address, strconv.Itoa(onnxFeatures), strconv.Itoa(onnxClasses))
	bare.process.Env = append(os.Environ(), library)
	for _, s := range []*modelServer{ours, bare} {
		if err := s.start(ctx); err != nil {
			return ours, bare, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return ours, bare, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (s *modelServer) start(ctx context.Context) error {
	if err := s.process.Start(); err != nil {
		s.process = nil
		return err
	}
	for end := time.Now().Add(20 * time.Second); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/v2/health/ready", nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK || s.name == "bare handler" {
				return nil
			}
		}
		if time.Now().After(end) {
			return errors.Join(errors.New("it does not become ready"), err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *modelServer) stop() error {
	_ = s.process.Process.Signal(syscall.SIGTERM) // it may have ended
	err := s.process.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil // the bare one ends by the signal
	}
	return err
}

// prepare makes the request that is sent: raw is without any protocol, but in JSON.
func (s *modelServer) prepare(form, binary, text string, row []float32, raw bool) error {
	x := infer.New(infertest.Input, row, 1, onnxFeatures)
	x.Binary = form != "JSON"
	req := infer.Request{Inputs: []infer.Tensor{x}}
	if x.Binary {
		req.AskBinary()
	}
	body, header, err := req.Append(nil)
	if err != nil {
		return err
	}
	path, more := text, ""
	if x.Binary {
		path, more = binary, fmt.Sprintf("%s: %d\r\n", infer.HeaderLength, header)
		if raw {
			body, more = body[header:], ""
		}
	}
	s.request = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n", path, s.address, more, len(body))
	s.request = append(s.request, body...)
	return nil
}

func compareServers(ctx context.Context, b *bench, form string, servers ...*modelServer) error {
	p50, p99, rate, cost := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	for range b.runs {
		for _, s := range servers {
			took, err := s.steady(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			p50[s.name] = append(p50[s.name], quantile(took, 0.5))
			p99[s.name] = append(p99[s.name], quantile(took, 0.99))
			r, c, err := s.closed(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			rate[s.name], cost[s.name] = append(rate[s.name], r), append(cost[s.name], c)
		}
	}
	for _, s := range servers {
		what := fmt.Sprintf("%s, %s, batch 1: ", s.name, form)
		b.add(what+"50th percentile at 2,000 requests/s", "ms", p50[s.name], "")
		b.add(what+"99th percentile at 2,000 requests/s", "ms", p99[s.name], "")
		b.add(what+"as fast as it answers, 4 connections", "requests/s", rate[s.name], "")
		b.add(what+"processor time of the server for each", "µs", cost[s.name], "")
	}
	ours, bare := servers[0].name, servers[1].name
	b.add(form+": 50th percentile in proportion to the bare handler", "x", proportion(p50[ours], p50[bare]), "")
	b.add(form+": the bare handler's rate in proportion to ours", "x", proportion(rate[bare], rate[ours]), "")
	b.add(form+": processor time in proportion to the bare handler's", "x", proportion(cost[ours], cost[bare]), "")
	return nil
}

func proportion(a, b []float64) []float64 {
	var out []float64
	for i := range a {
		out = append(out, a[i]/b[i])
	}
	return out
}

// quantile of durations in milliseconds.
func quantile(took []time.Duration, q float64) float64 {
	s := slices.Sorted(slices.Values(took))
	return float64(s[min(int(q*float64(len(s))), len(s)-1)]) / float64(time.Millisecond)
}

// steady sends requests at onnxRate, whatever becomes of those before, and returns how
// long after it was due each was answered.
func (s *modelServer) steady(ctx context.Context) ([]time.Duration, error) {
	const n = onnxRate * onnxSeconds
	took := make([]time.Duration, n)
	began := time.Now().Add(50 * time.Millisecond)
	err := s.clients(ctx, onnxClients, func(k int, ask func() error) error {
		for i := k; i < n; i += onnxClients {
			due := began.Add(time.Duration(i) * time.Second / onnxRate)
			if err := sleepUntil(due); err != nil {
				return err
			}
			if err := ask(); err != nil {
				return err
			}
			took[i] = time.Since(due)
		}
		return nil
	})
	return took, err
}

// sleepUntil is finer than time.Sleep, which rounds to the milliseconds of epoll.
func sleepUntil(due time.Time) error {
	for left := time.Until(due); left > 0; left = time.Until(due) {
		t := syscall.NsecToTimespec(int64(left))
		if err := syscall.Nanosleep(&t, nil); err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
	return nil
}

// closed sends a request as soon as the one before is answered, and returns how many were
// answered in a second, and what the server's processor time for each was in microseconds.
func (s *modelServer) closed(ctx context.Context) (rate, cost float64, err error) {
	counts := make([]int, onnxClosed)
	before := ticks(s.process.Process.Pid)
	began := time.Now()
	end := began.Add(onnxSeconds / 2 * time.Second)
	err = s.clients(ctx, onnxClosed, func(k int, ask func() error) error {
		for time.Now().Before(end) {
			if err := ask(); err != nil {
				return err
			}
			counts[k]++
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	took := time.Since(began)
	used := ticks(s.process.Process.Pid) - before
	sum := 0.0
	for _, c := range counts {
		sum += float64(c)
	}
	return sum / took.Seconds(), float64(used) * 1e4 / sum, nil
}

// clients runs each n times at a time, with a connection of its own.
func (s *modelServer) clients(ctx context.Context, n int, each func(k int, ask func() error) error) error {
	var g sync.WaitGroup
	errs := make([]error, n)
	for k := range n {
		g.Go(func() {
			c, err := net.Dial("tcp", s.address)
			if err != nil {
				errs[k] = err
				return
			}
			defer c.Close()
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer stop()
			r := bufio.NewReader(c)
			errs[k] = each(k, func() error {
				if _, err := c.Write(s.request); err != nil {
					return err
				}
				return skipAnswer(r)
			})
		})
	}
	g.Wait()
	return errors.Join(errs...)
}

// skipAnswer reads one answer, which must be 200. What it costs is the same for both.
func skipAnswer(r *bufio.Reader) error {
	length := -1
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if n == 0 && string(line[9:12]) != "200" {
			rest, _ := io.ReadAll(io.LimitReader(r, int64(r.Buffered())))
			return fmt.Errorf("answered %s%s", line, rest)
		}
		if len(line) <= 2 {
			break
		}
		const name = "Content-Length: "
		if len(line) > len(name) && string(line[:len(name)]) == name {
			if length, err = strconv.Atoi(string(line[len(name) : len(line)-2])); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("an answer without Content-Length")
	}
	_, err := r.Discard(length)
	return err
}
