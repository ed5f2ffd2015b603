package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"polder.dev/polder/storage/transfer"
)

// sumSuffix is that of the file beside a checkpoint which holds its SHA-256, and says that
// it is whole.
const sumSuffix = ".sha256"

// keep is how many checkpoints stay in the bucket.
const keep = 3

// checkpointName is what docs/formats/training.md names them.
var checkpointName = regexp.MustCompile(`^epoch-[0-9]{5}[^/]*$`)

// Saver copies checkpoints from a directory to a place in the store.
type Saver struct {
	Log    *slog.Logger
	Client *transfer.Client
	Dir    string
	To     transfer.Address // a prefix that ends with a slash

	saved map[string]string // name to SHA-256
}

// Run looks for whole checkpoints now and then, until ctx ends, and then once more, for
// as long as grace. What cannot be copied now is tried again; the job goes on meanwhile.
func (s *Saver) Run(ctx context.Context, every, grace time.Duration) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for ctx.Err() == nil {
		if err := s.Save(ctx); err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "a checkpoint could not be copied yet", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return s.Save(last)
}

// Save copies the whole checkpoints that are not in the store yet, oldest first, then
// removes from there what is older than the newest few.
func (s *Saver) Save(ctx context.Context) error {
	if s.saved == nil {
		if err := s.look(ctx); err != nil {
			return err
		}
	}
	whole, err := wholeIn(s.Dir)
	if err != nil {
		return err
	}
	for _, name := range whole {
		sum, err := sumOf(s.Dir, name)
		if errors.Is(err, os.ErrNotExist) {
			continue // the program has removed it meanwhile
		}
		if err != nil {
			return err
		}
		if s.saved[name] == sum {
			continue
		}
		if err := s.save(ctx, name, sum); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("copying checkpoint %s to %s: %w", name, s.To, err)
		} else if err == nil {
			s.saved[name] = sum
			s.Log.InfoContext(ctx, "a checkpoint is in the store", "name", name)
		}
	}
	return s.prune(ctx)
}

// look reads which checkpoints are in the store.
func (s *Saver) look(ctx context.Context) error {
	found, err := wholeAt(ctx, s.Client, s.To)
	if err != nil {
		return err
	}
	saved := map[string]string{}
	for _, name := range found {
		sum, err := s.remoteSum(ctx, name)
		if err != nil {
			return err
		}
		saved[name] = sum
	}
	s.saved = saved
	return nil
}

func (s *Saver) at(name string) transfer.Address {
	return transfer.Address{Bucket: s.To.Bucket, Key: s.To.Key + name}
}

func (s *Saver) remoteSum(ctx context.Context, name string) (string, error) {
	var b strings.Builder
	var m transfer.Meter
	if err := s.Client.Read(ctx, s.at(name+sumSuffix), "", &b, &m); err != nil {
		return "", err
	}
	return firstWord(b.String()), nil
}

// save copies a checkpoint, and after it the file that says it is whole.
func (s *Saver) save(ctx context.Context, name, sum string) error {
	f, err := os.Open(filepath.Join(s.Dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	var m transfer.Meter
	if err := s.Client.Write(ctx, io.TeeReader(f, h), s.at(name), &m); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return fmt.Errorf("the file's SHA-256 is %s, and %s%s says %s", got, name, sumSuffix, sum)
	}
	return s.Client.Write(ctx, strings.NewReader(sum+"\n"), s.at(name+sumSuffix), &m)
}

// prune removes all but the newest from the store: first what says that one is whole.
func (s *Saver) prune(ctx context.Context) error {
	names := make([]string, 0, len(s.saved))
	for n := range s.saved {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names[:max(0, len(names)-keep)] {
		for _, key := range []string{n + sumSuffix, n} {
			p, err := s.Client.Removing(ctx, s.at(key), false, false)
			if err != nil {
				return err
			}
			var m transfer.Meter
			var failed error
			err = s.Client.Run(ctx, p, false, &m, func(r transfer.Result) { failed = errors.Join(failed, r.Err) })
			p.Close()
			if err = errors.Join(err, failed); err != nil {
				return fmt.Errorf("removing checkpoint %s: %w", n, err)
			}
		}
		delete(s.saved, n)
	}
	return nil
}

// Restore brings the newest whole checkpoint from the store to a directory that has none,
// and returns its name; "" if there was nothing to do. One whose hash is wrong is passed
// over.
func Restore(ctx context.Context, log *slog.Logger, c *transfer.Client, from transfer.Address, dir string) (string, error) {
	here, err := wholeIn(dir)
	if err != nil || len(here) > 0 {
		return "", err
	}
	found, err := wholeAt(ctx, c, from)
	if err != nil {
		return "", err
	}
	s := &Saver{Log: log, Client: c, To: from}
	for _, name := range slices.Backward(found) {
		sum, err := s.remoteSum(ctx, name)
		if err == nil {
			err = restore(ctx, c, s.at(name), dir, name, sum)
		}
		if err == nil {
			return name, nil
		}
		if ctx.Err() != nil || !errors.Is(err, errSum) {
			return "", fmt.Errorf("restoring checkpoint %s: %w", name, err)
		}
		log.WarnContext(ctx, "a checkpoint in the store is damaged; the one before it is taken", "name", name, "err", err)
	}
	return "", nil
}

var errSum = errors.New("its SHA-256 is not what it should be")

// restore writes beside the place and renames, the hash last, as who saves has to.
func restore(ctx context.Context, c *transfer.Client, from transfer.Address, dir, name, sum string) error {
	part := filepath.Join(dir, name+".part")
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer os.Remove(part) // nothing, once it has its name
	h := sha256.New()
	var m transfer.Meter
	err = c.Read(ctx, from, "", io.MultiWriter(f, h), &m)
	if err == nil && hex.EncodeToString(h.Sum(nil)) != sum {
		err = errSum
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, filepath.Join(dir, name)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+sumSuffix), []byte(sum+"\n"), 0o644)
}

// wholeIn lists the checkpoints of a directory that are whole, oldest first.
func wholeIn(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing checkpoints: %w", err)
	}
	names := map[string]bool{}
	for _, e := range list {
		names[e.Name()] = e.Type().IsRegular()
	}
	return whole(names), nil
}

// wholeAt is wholeIn of a place in the store.
func wholeAt(ctx context.Context, c *transfer.Client, at transfer.Address) ([]string, error) {
	names := map[string]bool{}
	for e, err := range c.List(ctx, at, true) {
		if err != nil {
			return nil, fmt.Errorf("listing checkpoints in %s: %w", at, err)
		}
		names[strings.TrimPrefix(e.Key, at.Key)] = true
	}
	return whole(names), nil
}

func whole(names map[string]bool) []string {
	var out []string
	for n, file := range names {
		if file && checkpointName.MatchString(n) && !strings.HasSuffix(n, sumSuffix) && !strings.HasSuffix(n, ".part") && names[n+sumSuffix] {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// sumOf reads the hash beside a checkpoint.
func sumOf(dir, name string) (string, error) {
	f, err := os.Open(filepath.Join(dir, name+sumSuffix))
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", err
	}
	sum := firstWord(string(b))
	if raw, err := hex.DecodeString(sum); err != nil || len(raw) != sha256.Size {
		return "", fmt.Errorf("%s%s does not begin with a SHA-256", name, sumSuffix)
	}
	return sum, nil
}

func firstWord(s string) string {
	f := strings.Fields(s)
	if len(f) == 0 {
		return ""
	}
	return f[0]
}
