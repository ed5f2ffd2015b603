package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/s3"
)

// Lodger is a program of the store's own machine that keeps its data in a bucket, of which
// it seldom reads anything twice, and reaches it by a socket: before anybody else is served, and whatever becomes of those who
// know the other identities.
type Lodger struct {
	// Account owns the bucket, and User is a name in it that may do nothing but read and
	// write there. AccessKey and Secret are that user's.
	Account, User, AccessKey, Secret string
	Bucket                           string
	// Socket is made for root, or for the user who runs the store.
	Socket string
	// Handovers is a directory of the lodger's whose files the store may be given; "" is
	// none.
	Handovers string
}

// Lodge makes the bucket of a lodger, if it is not there, and serves it until ctx ends.
// ready is called once it can be reached.
func (s *Server) Lodge(ctx context.Context, l Lodger, ready func()) error {
	if err := s.lodging(ctx, l); err != nil {
		return fmt.Errorf("making bucket %s of %s: %w", l.Bucket, l.Account, err)
	}
	people, err := iam.NewUsers([]iam.User{{Account: l.Account, Name: l.User, AccessKey: l.AccessKey, SecretKey: l.Secret}})
	if err != nil {
		return fmt.Errorf("the identity of %s: %w", l.User, err)
	}
	door, err := s3.New(s3.Config{
		Space: s.space, Directory: people, Region: s.cfg.Region, OwnNames: true, Handovers: l.Handovers, ReadOnce: true, Access: s.logs, Memory: s.memory, Now: s.cfg.Now, Log: s.cfg.Log,
	})
	if err != nil {
		return err
	}
	socket, err := listenSocket(l.Socket)
	if err != nil {
		return err
	}
	web := &http.Server{Handler: s.guard("s3", door), ReadHeaderTimeout: 30 * time.Second, MaxHeaderBytes: headBytesMax}
	ready()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return web.Serve(socket) })
	g.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := web.Shutdown(grace); errors.Is(err, context.DeadlineExceeded) {
			return web.Close()
		} else if err != nil {
			return err
		}
		return nil
	})
	if err := g.Wait(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", l.User, err)
	}
	return nil
}

// lodging makes the bucket. Its ETags are no MD5s: what a lodger keeps has digests of its
// own, and an MD5 costs more than all else of a write.
func (s *Server) lodging(ctx context.Context, l Lodger) error {
	access := iam.EncodeAccess([]iam.Access{{Account: l.Account, User: l.User, Role: iam.Writer}})
	b, err := s.space.Container(ctx, l.Account, l.Bucket)
	if errors.Is(err, storage.ErrNoBucket) {
		_, err = s.space.CreateContainer(ctx, l.Account, l.Bucket, storage.Settings{
			Durability: storage.Synced, PlainETag: true, Labels: map[string]string{iam.LabelAccess: access},
		})
		return err
	}
	if err != nil {
		return err
	}
	return b.Configure(ctx, func(set *storage.Settings) error {
		set.Labels = maps.Clone(set.Labels)
		set.Labels[iam.LabelAccess] = access
		return nil
	})
}
