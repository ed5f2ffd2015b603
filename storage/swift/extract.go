package swift

import (
	"archive/tar"
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
)

// xattrs of a tar's entries that become an object's type and metadata.
const (
	xattrPrefix = "SCHILY.xattr.user."
	xattrType   = "mime_type"
	xattrMeta   = "meta."
)

// extract makes objects of the files of an archive, as it comes.
func (c *call) extract() error {
	if c.badAuth {
		return refuse(401)
	}
	if _, err := c.bodySize(); err != nil {
		return err
	}
	f, kind := c.bulkFormat(true)
	if known := []string{"tar", "tar.gz", "tar.bz2"}; !slices.Contains(known, c.q["extract-archive"]) {
		return refusef(400, "Unsupported archive format")
	}
	p := c.beat(200, kind, false)
	var body io.Reader = bufio.NewReader(c.r.Body)
	r := &result{status: 201}
	switch c.q["extract-archive"] {
	case "tar":
	case "tar.gz":
		z, err := gzip.NewReader(body)
		if err != nil {
			r.status, r.body = 400, "Invalid Tar File: "+err.Error()
		} else {
			body = z
		}
	case "tar.bz2":
		body = bzip2.NewReader(body)
	}
	if r.status == 201 {
		c.extractAll(r, tar.NewReader(body))
	}
	switch {
	case len(r.bad) > 0 && r.status == 201:
		r.status = worst(r.bad)
	case r.created == 0 && r.status == 201:
		r.status, r.body = 400, "Invalid Tar File: No Valid Files"
	}
	return p.end(r.render(f, "create"))
}

func (c *call) extractAll(r *result, t *tar.Reader) {
	base := c.container
	if c.object != "" {
		base += "/" + c.object
	}
	made := map[string]bool{}
	for {
		e, err := t.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			r.status, r.body = 400, "Invalid Tar File: "+err.Error()
			return
		}
		if e.Typeflag != tar.TypeReg {
			continue
		}
		if len(r.bad) >= bulkFailuresMax {
			r.status, r.body = 400, "Reached 1000 failures"
			return
		}
		name := strings.TrimPrefix(path.Clean("/"+base+"/"+strings.TrimPrefix(e.Name, "./")), "/")
		container, key, ok := strings.Cut(name, "/")
		if !ok || key == "" {
			continue // a file that is in no container
		}
		if !made[container] {
			if len(made) >= bulkDeletesMax {
				r.status, r.body = 400, fmt.Sprintf("More than %d containers to create from tar.", bulkDeletesMax)
				return
			}
			if status := c.extractContainer(container); status/100 != 2 {
				r.bad = append(r.bad, trouble{quoted(name), line(status)})
				if status == 401 {
					r.status = 401
					return
				}
				continue
			}
			made[container] = true
		}
		rec := c.subcall(http.MethodPut, pathOf(c.shown, container, key), extractHeader(e), t, e.Size)
		if rec.status/100 == 2 {
			r.created++
			continue
		}
		r.bad = append(r.bad, trouble{quoted(name), line(rec.status)})
		if rec.status == 401 {
			r.status = 401
			return
		}
	}
}

// extractContainer finds a container or makes it.
func (c *call) extractContainer(name string) int {
	if _, err := c.h.cfg.Space.Container(c.ctx, c.acct.name, name); err == nil {
		return 200
	}
	return c.subcall(http.MethodPut, pathOf(c.shown, name), nil, nil, 0).status
}

// extractHeader is what an entry says of its object.
func extractHeader(e *tar.Header) http.Header {
	h := http.Header{}
	for k, v := range e.PAXRecords {
		k, ok := strings.CutPrefix(k, xattrPrefix)
		if !ok {
			continue
		}
		if m, ok := strings.CutPrefix(k, xattrMeta); ok {
			h.Set(objectMeta+m, v)
		} else if k == xattrType {
			h.Set("Content-Type", v)
		}
	}
	return h
}
