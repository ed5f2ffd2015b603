package swift

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/manifest"
)

// deletesAtOnce bounds what one bulk deletion does at a time.
const deletesAtOnce = 4

// result is what a bulk operation says in the body of its answer.
type result struct {
	mu                         sync.Mutex
	deleted, notFound, created int
	status                     int
	body                       string
	bad                        []trouble
	extra                      [][2]string
}

// bulkFormat is by Accept alone: text, JSON or XML.
func (c *call) bulkFormat(xml bool) (format, string) {
	names := []string{string(plain), string(asJSON)}
	if xml {
		names = append(names, string(asXML), string(textXML))
	}
	best, err := negotiate(c.header("Accept"), names)
	if err != nil || best == "" {
		best = names[0]
	}
	return format(best), best
}

// render writes a result; kind is delete, create or "".
func (r *result) render(f format, kind string) string {
	var rows [][2]string
	switch kind {
	case "delete":
		rows = [][2]string{{"Number Deleted", fmt.Sprint(r.deleted)}, {"Number Not Found", fmt.Sprint(r.notFound)}}
	case "create":
		rows = [][2]string{{"Number Files Created", fmt.Sprint(r.created)}}
	}
	rows = append(rows, r.extra...)
	rows = append(rows, [2]string{"Response Body", r.body}, [2]string{"Response Status", line(r.status)})
	slices.SortStableFunc(rows, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	switch f {
	case asJSON:
		m := map[string]any{}
		for _, row := range rows {
			m[row[0]] = row[1]
		}
		switch kind {
		case "delete":
			m["Number Deleted"], m["Number Not Found"] = r.deleted, r.notFound
		case "create":
			m["Number Files Created"] = r.created
		}
		bad := [][2]string{}
		for _, t := range r.bad {
			bad = append(bad, [2]string{t.name, t.why})
		}
		m["Errors"] = bad
		b, err := json.Marshal(m)
		if err != nil {
			panic("swift: a result of texts cannot fail to encode: " + err.Error())
		}
		return string(b)
	case asXML, textXML:
		return r.xml(rows, kind)
	}
	var b strings.Builder
	for _, row := range rows {
		b.WriteString(row[0] + ": " + row[1] + "\n")
	}
	b.WriteString(troubles(plain, r.bad))
	return b.String()
}

func (r *result) xml(rows [][2]string, kind string) string {
	root := kind
	if root == "" {
		root = "create"
	}
	var b strings.Builder
	b.WriteString("<" + root + ">\n")
	for _, row := range rows {
		n := strings.ToLower(strings.ReplaceAll(row[0], " ", "_"))
		b.WriteString("<" + n + ">" + escape(row[1]) + "</" + n + ">\n")
	}
	b.WriteString("<errors>\n")
	for _, t := range r.bad {
		b.WriteString("<object><name>" + escape(t.name) + "</name><status>" + escape(t.why) + "</status></object>\n")
	}
	b.WriteString("</errors>\n</" + root + ">\n")
	return b.String()
}

// troubles lists what failed.
func troubles(f format, bad []trouble) string {
	if f == asJSON {
		list := [][2]string{}
		for _, t := range bad {
			list = append(list, [2]string{t.name, t.why})
		}
		b, err := json.Marshal(map[string]any{"Errors": list})
		if err != nil {
			panic("swift: a list of texts cannot fail to encode: " + err.Error())
		}
		return string(b)
	}
	lines := make([]string, 0, len(bad))
	for _, t := range bad {
		lines = append(lines, t.name+", "+t.why+"\n")
	}
	return "Errors:\n" + strings.Join(lines, "")
}

// bulk answers ?bulk-delete and ?extract-archive.
func (c *call) bulk() (bool, error) {
	switch {
	case c.q.has("extract-archive") && c.method() == http.MethodPut:
		return true, c.extract()
	case c.q.has("bulk-delete") && (c.method() == http.MethodPost || c.method() == http.MethodDelete):
		return true, c.bulkDelete()
	}
	return false, nil
}

// bulkDelete deletes what the body names, one path a line.
func (c *call) bulkDelete() error {
	if c.badAuth {
		return refuse(401)
	}
	f, kind := c.bulkFormat(true)
	p := c.beat(200, kind, false)
	r := &result{status: 200}
	if _, err := c.bodySize(); err != nil {
		r.status = faultOf(err).status
		return p.end(r.render(f, "delete"))
	}
	names := bufio.NewScanner(c.r.Body)
	names.Buffer(make([]byte, 0, 4096), 3*(storage.BucketNameBytesMax+storage.KeyBytesMax))
	c.deleteAll(r, func() (string, bool) {
		for names.Scan() {
			if s := strings.TrimSpace(names.Text()); s != "" {
				return s, true
			}
		}
		return "", false
	})
	switch err := names.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		r.status, r.body = 400, "Invalid File Name"
	case err != nil:
		r.status, r.body = 400, "The body could not be read."
	case len(r.bad) > 0 && r.status == 200:
		r.status = worst(r.bad)
	case r.deleted+r.notFound == 0 && r.status == 200:
		r.status, r.body = 400, "Invalid bulk delete."
	}
	return p.end(r.render(f, "delete"))
}

// worst is the status of a whole with failures: 5xx are told, others are 400.
func worst(bad []trouble) int {
	for _, t := range bad {
		if strings.HasPrefix(t.why, "5") {
			return 502
		}
	}
	return 400
}

// deleteAll deletes objects by escaped path, and containers after the objects before
// them in the list.
func (c *call) deleteAll(r *result, next func() (string, bool)) {
	slots := make(chan struct{}, deletesAtOnce)
	var wait sync.WaitGroup
	defer wait.Wait()
	for n := 0; ; n++ {
		name, ok := next()
		if !ok {
			return
		}
		if n >= bulkDeletesMax {
			wait.Wait()
			r.status, r.body = 413, fmt.Sprintf("Maximum Bulk Deletes: %d per request", bulkDeletesMax)
			return
		}
		r.mu.Lock()
		full := len(r.bad) >= bulkFailuresMax
		r.mu.Unlock()
		if full {
			r.status, r.body = 400, "Max delete failures exceeded"
			return
		}
		path := unescapePath("/" + strings.Trim(name, "/"))
		if !strings.Contains(strings.TrimPrefix(path, "/"), "/") { // a container must see its objects gone
			wait.Wait()
			c.deleteOne(r, name, path)
			continue
		}
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			c.deleteOne(r, name, path)
		})
	}
}

func (c *call) deleteOne(r *result, name, path string) {
	shown := quoted(unescapePath(name))
	status := 412
	if len(path) <= 2*(storage.BucketNameBytesMax+storage.KeyBytesMax) {
		full := pathOf(c.shown) + path
		rec := c.subcall(http.MethodDelete, full, nil, nil, 0)
		status = rec.status
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case status/100 == 2:
		r.deleted++
	case status == 404:
		r.notFound++
	case status == 412 && len(name) > 0:
		r.bad = append(r.bad, trouble{shown, "412 Precondition Failed"})
	default:
		r.bad = append(r.bad, trouble{shown, line(status)})
	}
}

// staticDelete deletes a static large object with its segments.
func (c *call) staticDelete(b *box) error {
	f, kind := c.bulkFormat(true)
	r := &result{status: 200}
	names, err := c.segmentsOf(b, c.object, 0, nil)
	var bad trouble
	switch {
	case errors.As(err, &bad):
		r.status, r.bad = 400, []trouble{bad}
		names = nil
	case errors.Is(err, storage.ErrNoObject):
		r.notFound = 1
		names = nil
	case err != nil:
		return err
	}
	if on(c.q["async"]) {
		return c.staticDeleteQuietly(r, names)
	}
	p := c.beat(200, kind, false)
	i := 0
	c.deleteAll(r, func() (string, bool) {
		if i++; i > len(names) {
			return "", false
		}
		return names[i-1], true
	})
	if len(r.bad) > 0 && r.status == 200 {
		r.status = worst(r.bad)
	}
	return p.end(r.render(f, "delete"))
}

// staticDeleteQuietly is for ?async=on: the answer says no more than that it is done.
// Where Swift leaves the segments to a process behind, here they are gone already.
func (c *call) staticDeleteQuietly(r *result, names []string) error {
	i := 0
	next := func() (string, bool) {
		if i++; i > len(names) {
			return "", false
		}
		return names[i-1], true
	}
	switch {
	case r.notFound > 0:
		return refuse(404)
	case len(r.bad) == 0:
		c.deleteAll(r, next)
	}
	if len(r.bad) > 0 {
		return plainf(worst(r.bad), "%s", r.bad[0].Error())
	}
	c.answer(204, "")
	return nil
}

func (t trouble) Error() string { return t.name + ", " + t.why }

// segmentsOf lists the paths of a static large object's segments, and its own at the end.
func (c *call) segmentsOf(b *box, key string, depth int, names []string) ([]string, error) {
	self := "/" + b.name + "/" + key
	s, err := c.see(b, key, look{manifest: true}, false)
	if err != nil {
		return names, err
	}
	list, err := func() ([]manifest.Segment, error) {
		defer func() { _ = s.Close() }() // it was only read
		if s.joined {
			return nil, nil
		}
		if manifest.StaticOf(&s.info.Meta) == nil {
			return nil, trouble{quoted(self), "Not an SLO manifest"}
		}
		return manifest.Parse(storage.Reader(s.Object, 0, s.info.Size))
	}()
	if err != nil {
		return names, err
	}
	for i := range list {
		container, k, ok := list[i].Place()
		if !ok {
			continue
		}
		if list[i].SubSLO && depth < manifest.DepthMax {
			sb, err := c.box(b.shown, container)
			if err == nil {
				names, err = c.segmentsOf(sb, k, depth+1, names)
			}
			if err == nil {
				continue
			}
		}
		names = append(names, quoted(list[i].Name))
		if len(names) > bulkDeletesMax {
			return names, trouble{quoted(self), "Too many buffered slo segments to delete."}
		}
	}
	return append(names, quoted(self)), nil
}
