// Command fetch copies between the object store and a training worker's pod. It is told
// what to do by variables: docs/formats/training.md, "What lies in the store".
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"polder.dev/polder/internal/logs"
	"polder.dev/polder/storage/dataset"
	"polder.dev/polder/storage/fetch"
	"polder.dev/polder/storage/transfer"
)

const (
	saveEvery = 2 * time.Second
	saveGrace = 8 * time.Second // of the 10 s that a worker has
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fetch:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	cfg, err := transfer.Environment(os.Getenv, "", "")
	if err != nil {
		return err
	}
	c, err := transfer.New(cfg)
	if err != nil {
		return err
	}
	first := os.Getenv("RANK") == "0" // of the workers, which share checkpoints and metrics
	var saves transfer.Address
	if to := os.Getenv("POLDER_CHECKPOINT_BUCKET"); to != "" {
		if saves, err = transfer.Parse(to); err != nil {
			return err
		}
	}
	switch {
	case len(args) == 1 && args[0] == "data":
		return data(ctx, c, first, saves)
	case len(args) == 1 && args[0] == "checkpoints" && !first:
		<-ctx.Done()
		return nil
	case len(args) == 1 && args[0] == "checkpoints":
		s := &fetch.Saver{Log: logs.New(os.Stderr), Client: c, Dir: os.Getenv("POLDER_CHECKPOINT_DIR"), To: saves}
		return s.Run(ctx, saveEvery, saveGrace)
	}
	return errors.New("say data or checkpoints")
}

// data copies what the worker needs before it starts.
func data(ctx context.Context, c *transfer.Client, first bool, saves transfer.Address) error {
	sources, err := dataset.DecodeSources(os.Getenv("POLDER_SOURCES"))
	if err != nil {
		return err
	}
	metrics := ""
	if first {
		metrics = os.Getenv("POLDER_METRICS_FILE")
	}
	tell := fetch.Teller(metrics, time.Now)
	began := time.Now()
	err = fetch.Data(ctx, c, sources, func(done, all int64) {
		tell(done, all)
		fmt.Printf("%d of %d bytes of data are here after %.0f s\n", done, all, time.Since(began).Seconds())
	})
	if err != nil || !first || saves.Bucket == "" {
		return err
	}
	name, err := fetch.Restore(ctx, logs.New(os.Stderr), c, saves, os.Getenv("POLDER_CHECKPOINT_DIR"))
	if err == nil && name != "" {
		fmt.Printf("checkpoint %s was brought back from %s\n", name, saves)
	}
	return err
}
