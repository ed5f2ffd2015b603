package discovery

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errStuck means that a program cannot be ended: it waits in the kernel, for a card
// that does not answer, and not even a signal reaches it there.
var errStuck = errors.New("cannot be ended, since it waits for the kernel; it is left alone until it ends, and the machine may have to be restarted")

// stuck are the programs that run on although they were given up, by who they are. They
// are the process's, as its children are: another of them would wait there, too, and
// there would be one more every ten seconds.
var stuck sync.Map

// wait is run, but it returns [errStuck] if run has not returned some time after ctx
// ended, and for what is the same as long as that lasts.
func wait(ctx context.Context, same string, run func() error) error {
	if _, is := stuck.Load(same); is {
		return errStuck
	}
	ended := make(chan error, 1)
	go func() { ended <- run() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(2 * toolWait) // run kills it, and has toolWait to find it dead
	defer grace.Stop()
	select {
	case err := <-ended:
		return err
	case <-grace.C:
	}
	stuck.Store(same, true)
	go func() {
		<-ended
		stuck.Delete(same)
	}()
	return errStuck
}
