package system

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"polder.dev/polder/internal/logs"
	"polder.dev/polder/storage/iam"
)

// directory is the users of a store alone, as the file said when it was last read.
type directory struct{ users atomic.Pointer[iam.Users] }

var _ iam.Directory = (*directory)(nil)

// Key implements iam.Directory.
func (d *directory) Key(ctx context.Context, key string) (iam.Identity, string, error) {
	return d.users.Load().Key(ctx, key)
}

// Password implements iam.Directory.
func (d *directory) Password(ctx context.Context, name, password string) (iam.Identity, error) {
	return d.users.Load().Password(ctx, name, password)
}

// Token implements iam.Directory.
func (d *directory) Token(ctx context.Context, token string) (iam.Identity, error) {
	return d.users.Load().Token(ctx, token)
}

// Account implements iam.Directory.
func (d *directory) Account(ctx context.Context, id string) (iam.Identity, error) {
	return d.users.Load().Account(ctx, id)
}

// reload reads the users again at each SIGHUP, until what it returns is called. A file
// with a mistake is logged, and the users stay as they were.
func (f *storeFlags) reload(ctx context.Context, log *slog.Logger, dir string, d *directory) func() {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-over:
				return
			case <-hup:
			}
			u, err := f.read(dir)
			if err != nil {
				log.ErrorContext(ctx, "the users stay as they were", logs.Err, err)
				continue
			}
			d.users.Store(u)
			log.InfoContext(ctx, "the users were read again")
		}
	}()
	return func() {
		signal.Stop(hup)
		close(over)
		<-ended
	}
}
