package storagetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"polder.dev/polder/storage"
)

// Client works at random on a few keys of a bucket, and notes in a History what it saw.
type Client struct {
	Bucket  storage.Bucket
	History *History
	Life    int // History.Life when the client began
	Rng     *rand.Rand
	Keys    int
	// Sizes of bodies; a write takes one of them.
	Sizes []int
	// Broken tells errors that say nothing about what happened, such as that of a disk
	// that lost its power.
	Broken func(error) bool
	// Name is unlike that of any other client of the history.
	Name uint32

	count uint32
}

const bodyHead = 16

// body is one that no other write has.
func (c *Client) body() (string, []byte) {
	c.count++
	n := max(c.Sizes[c.Rng.IntN(len(c.Sizes))], bodyHead)
	b := binary.BigEndian.AppendUint32(nil, c.Name)
	b = binary.BigEndian.AppendUint32(b, c.count)
	b = binary.BigEndian.AppendUint64(b, uint64(n))
	b = append(b, random(uint64(c.Name)<<32|uint64(c.count), n-bodyHead)...)
	return fmt.Sprintf("%d.%d", c.Name, c.count), b
}

// value tells which write a body is of, or that it is torn.
func value(b []byte) (string, error) {
	if len(b) < bodyHead || binary.BigEndian.Uint64(b[8:]) != uint64(len(b)) {
		return "", fmt.Errorf("a body of %d bytes is not what was written", len(b))
	}
	name, count := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if !bytes.Equal(b[bodyHead:], random(uint64(name)<<32|uint64(count), len(b)-bodyHead)) {
		return "", fmt.Errorf("the body of write %d.%d is torn", name, count)
	}
	return fmt.Sprintf("%d.%d", name, count), nil
}

// Key is the i-th one.
func Key(i int) string { return fmt.Sprintf("dir%d/key%d", i%3, i) }

// Step does one operation. An error is one that a client may never see.
func (c *Client) Step(ctx context.Context) error {
	key := Key(c.Rng.IntN(c.Keys))
	switch n := c.Rng.IntN(100); {
	case n < 40:
		return c.Read(ctx, key)
	case n < 50:
		return c.list(ctx)
	case n < 62:
		return c.write(key, "", func() error {
			_, err := c.Bucket.Delete(ctx, key, storage.DeleteOptions{})
			return err
		})
	case n < 70:
		return c.multipart(ctx, key)
	}
	v, body := c.body()
	return c.write(key, v, func() error {
		_, err := c.Bucket.Put(ctx, key, bytes.NewReader(body), storage.PutOptions{Size: int64(c.Rng.IntN(2) * len(body))})
		return err
	})
}

func (c *Client) write(key, value string, do func() error) error {
	done := c.History.Write(c.Life, key, value)
	err := do()
	switch {
	case err == nil:
		done(Acknowledged)
	case c.Broken != nil && c.Broken(err):
		done(Unknown)
	default:
		done(Failed)
		return fmt.Errorf("writing %s: %w", key, err)
	}
	return nil
}

// multipart makes an object of one part, or of none.
func (c *Client) multipart(ctx context.Context, key string) error {
	v, body := c.body()
	return c.write(key, v, func() error {
		u, err := c.Bucket.Begin(ctx, key, storage.Meta{})
		if err != nil {
			return err
		}
		if _, err = c.Bucket.PutPart(ctx, key, u.ID, 3, bytes.NewReader(body), storage.PutOptions{}); err != nil {
			return err
		}
		_, err = c.Bucket.Complete(ctx, key, u.ID, []storage.PartRef{{Number: 3}}, storage.CompleteOptions{})
		return err
	})
}

// Read reads a whole object and notes what it was.
func (c *Client) Read(ctx context.Context, key string) error {
	done := c.History.Read(c.Life, key)
	o, err := c.Bucket.Open(ctx, key, storage.ReadOptions{})
	switch {
	case errors.Is(err, storage.ErrNoObject):
		done("")
		return nil
	case err != nil && c.Broken != nil && c.Broken(err):
		return nil
	case err != nil:
		return err
	}
	body, err := io.ReadAll(storage.Reader(o, 0, o.Info().Size))
	if err := errors.Join(err, o.Close()); err != nil {
		if c.Broken != nil && c.Broken(err) {
			return nil
		}
		return err
	}
	v, err := value(body)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if i := o.Info(); i.Size != int64(len(body)) || i.Parts == 0 && !strings.Contains(i.ETag, "-") && i.ETag != etag(body) {
		return fmt.Errorf("%s: the ETag is not of its body: %+v", key, i)
	}
	done(v)
	return nil
}

// list sees of each key whether there is an object.
func (c *Client) list(ctx context.Context) error {
	l, err := c.Bucket.List(ctx, storage.ListOptions{Limit: 1 + c.Rng.IntN(20), Delimiter: []string{"", "/"}[c.Rng.IntN(2)]})
	if err != nil && c.Broken != nil && c.Broken(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := 1; i < len(l.Objects); i++ {
		if l.Objects[i].Key <= l.Objects[i-1].Key {
			return fmt.Errorf("the listing is not in order: %q", keys(l.Objects))
		}
	}
	return nil
}
