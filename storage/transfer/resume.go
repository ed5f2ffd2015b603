package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/minio/minio-go/v7"
)

// An upload of many parts that was interrupted goes on if a small file in the user's
// cache knows it. To look for uploads in the store alone would not do: another program
// may be at one of the same key just now, and an upload does not tell which file it
// was begun for. What the file says is not believed, only tried: the store lists the
// parts, and each is compared by checksum with the bytes that it should hold.

const (
	stateBytesMax = 64 << 10
	// stateAgeMax is longer than the store keeps an upload.
	stateAgeMax = 8 * 24 * time.Hour
)

// uploadState is that file.
type uploadState struct {
	Endpoint, Bucket, Key, Path string
	Size                        int64
	Modified                    time.Time
	ID                          string
	Part                        int64 // bytes
}

// upload is one of many parts that is going on.
type upload struct {
	to    Address
	state uploadState
	file  *os.File // locked; nil where no state can be kept
	there map[int]minio.ObjectPart
	parts []minio.CompletePart
}

// openUpload goes on with an upload that was begun for this file and place, or begins
// one.
func (c *Client) openUpload(ctx context.Context, f *os.File, info fs.FileInfo, to Address) (*upload, error) {
	path, err := filepath.Abs(f.Name())
	if err != nil {
		path = f.Name()
	}
	u := &upload{to: to, state: uploadState{
		Endpoint: c.base.String(), Bucket: to.Bucket, Key: to.Key, Path: path, Size: info.Size(), Modified: info.ModTime(), Part: c.partSize(info.Size()),
	}}
	known := u.lock(c.cfg.StateDir)
	if known.ID != "" {
		there, err := c.partsThere(ctx, to, known.ID)
		if err == nil {
			u.state, u.there = known, there
			return u, nil
		}
		if codeOf(err) != minio.NoSuchUpload {
			u.close()
			return nil, err
		}
	}
	if err := c.begin(ctx, u); err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

func (c *Client) begin(ctx context.Context, u *upload) error {
	o := withSum(metaOf(u.to.Key, u.state.Modified))
	err := c.try(ctx, func() (err error) {
		u.state.ID, err = c.core.NewMultipartUpload(ctx, u.to.Bucket, u.to.Key, o)
		return err
	})
	if err != nil {
		return err
	}
	u.write()
	return nil
}

// partsThere lists the parts that the store has.
func (c *Client) partsThere(ctx context.Context, to Address, id string) (map[int]minio.ObjectPart, error) {
	out := map[int]minio.ObjectPart{}
	for after := 0; ; {
		var page minio.ListObjectPartsResult
		err := c.try(ctx, func() (err error) {
			page, err = c.core.ListObjectParts(ctx, to.Bucket, to.Key, id, after, pageEntries)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, p := range page.ObjectParts {
			p.ETag = completed(p).ETag
			out[p.PartNumber] = p
		}
		if !page.IsTruncated || page.NextPartNumberMarker <= after {
			return out, nil
		}
		after = page.NextPartNumberMarker
	}
}

// lock opens and locks the state's file and returns what it holds about this very
// upload. Without a directory, or while another program has it, there is no state.
func (u *upload) lock(dir string) uploadState {
	if dir == "" || os.MkdirAll(dir, 0o700) != nil {
		return uploadState{}
	}
	sweepStates(dir)
	s := u.state
	sum := sha256.Sum256([]byte(s.Endpoint + "\x00" + s.Bucket + "\x00" + s.Key + "\x00" + s.Path))
	f, err := os.OpenFile(filepath.Join(dir, hex.EncodeToString(sum[:])+".json"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return uploadState{}
	}
	if lockFile(f) != nil {
		_ = f.Close()
		return uploadState{}
	}
	u.file = f
	text, err := io.ReadAll(io.LimitReader(f, stateBytesMax))
	var known uploadState
	if err != nil || json.Unmarshal(text, &known) != nil {
		return uploadState{}
	}
	want := s
	want.ID, want.Part = known.ID, known.Part
	if !known.Modified.Equal(want.Modified) {
		return uploadState{}
	}
	known.Modified = want.Modified // the same, but for what JSON lost
	if known != want || known.Part < PartBytesMin || partCount(known.Size, known.Part) > partsMax {
		return uploadState{}
	}
	return known
}

func (u *upload) write() {
	if u.file == nil {
		return
	}
	text, err := json.Marshal(u.state)
	if err == nil {
		err = u.file.Truncate(0)
	}
	if err == nil {
		_, err = u.file.WriteAt(text, 0)
	}
	if err != nil { // then this upload cannot go on later
		u.forget()
	}
}

// forget removes the state.
func (u *upload) forget() {
	if u.file != nil {
		_ = os.Remove(u.file.Name())
	}
}

func (u *upload) close() {
	if u.file != nil {
		_ = u.file.Close() // and unlocks it
	}
}

// sweepStates removes the files of uploads that the store has given up.
func sweepStates(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > stateAgeMax && filepath.Ext(e.Name()) == ".json" {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
