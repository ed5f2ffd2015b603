// Command probe is what the end-to-end tests run in pods: a server, a client, a
// look at what a pod can see, and a small trainer that keeps to the contract of
// docs/formats/training.md. It is static and needs nothing else in its image.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// answerLimit bounds every question to the network.
const answerLimit = 3 * time.Second

func main() {
	verbs := map[string]func(ctx context.Context, args []string) error{
		"serve":   serve,
		"infer":   infer,
		"chat":    chat,
		"get":     fetch,
		"resolve": resolve,
		"write":   write,
		"read":    read,
		"look":    look,
		"train":   train,
		"crash":   crash,
	}
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: probe serve|infer|chat|get|resolve|write|read|look|train|crash ...")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := verbs[os.Args[1]](ctx, os.Args[2:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

// serve answers every request at :PORT with TEXT, or with what the file has whose name
// follows an '@', after DELAY if there is one, until it is told to end; it does not wait
// for requests then. The root is answered at once.
func serve(ctx context.Context, args []string) error {
	if len(args) != 2 && len(args) != 3 {
		return fmt.Errorf("serve takes PORT, TEXT and perhaps DELAY, got %q", args)
	}
	delay, err := time.ParseDuration(strings.Join(args[2:], ""))
	if len(args) == 3 && err != nil {
		return err
	}
	text := args[1]
	if file, ok := strings.CutPrefix(text, "@"); ok {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text = strings.TrimSpace(string(b))
	}
	s := &http.Server{Addr: ":" + args[0], ReadHeaderTimeout: answerLimit, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			time.Sleep(delay)
		}
		fmt.Fprintln(w, text)
	})}
	ended := make(chan error, 1)
	go func() { ended <- s.ListenAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return s.Close()
	}
}

// fetch prints what URL answers.
func fetch(ctx context.Context, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.Join(args, " "), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}

// resolve prints the addresses of a name.
func resolve(ctx context.Context, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, strings.Join(args, " "))
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(addrs, " "))
	return nil
}

// write puts TEXT into the file PATH, and onto the disk.
func write(_ context.Context, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("write takes PATH and TEXT, got %q", args)
	}
	return replace(args[0], []byte(args[1]))
}

// read prints the file PATH.
func read(_ context.Context, args []string) error {
	b, err := os.ReadFile(strings.Join(args, " "))
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(b)
	return err
}

// crash says something and dies of it.
func crash(context.Context, []string) error {
	for i := range 20 {
		fmt.Fprintf(os.Stderr, "line %d before the end\n", i)
	}
	return fmt.Errorf("the flux capacitor is empty")
}
