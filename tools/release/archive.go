package main

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// entry is one file of the tarball.
type entry struct {
	name    string // from the top directory
	from    string
	program bool
}

// pack writes a tarball whose bytes depend on nothing but the entries' content,
// top and date. It has no entries for directories: tar makes those that lack, and
// would change owner, mode and time of those that are there, such as
// /usr/local/bin.
func pack(file, top string, date time.Time, entries []entry) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() {
		if e := out.Close(); err == nil {
			err = e
		}
		if err != nil {
			os.Remove(file) // half a tarball is none
		}
	}()
	z, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	for _, e := range entries {
		if err := e.write(t, top, date); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}

func (e entry) write(t *tar.Writer, top string, date time.Time) error {
	f, err := os.Open(e.from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: path.Join(top, e.name), Mode: 0o644, Size: info.Size(), ModTime: date, Format: tar.FormatUSTAR}
	if e.program {
		h.Mode = 0o755
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
