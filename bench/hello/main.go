// Command hello says one line and waits to be told to end: what the benchmark of
// pods runs in them. With PORT it answers requests meanwhile, as that of waking does. Only
// bench/measure builds it.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	fmt.Println("hello")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if port := os.Getenv("PORT"); port != "" {
		if err := serve(ctx, port); err != nil {
			fmt.Fprintln(os.Stderr, "hello:", err)
			os.Exit(1)
		}
		return
	}
	<-ctx.Done()
}

// serve answers until ctx ends, and then what it has.
func serve(ctx context.Context, port string) error {
	s := &http.Server{Addr: ":" + port, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("hello"))
	})}
	ended := make(chan error, 1)
	context.AfterFunc(ctx, func() { ended <- s.Shutdown(context.WithoutCancel(ctx)) })
	if err := s.ListenAndServe(); ctx.Err() == nil {
		return err
	}
	return <-ended
}
