package swift_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the conversations as they are now")

// TestConversation plays testdata/*.conv. A request is a line
//
//	WHO METHOD PATH | HEADER: VALUE | ... <<BODY
//
// where WHO is a key of people or "-", and ${NAME} is a header of the last answer. What
// is indented below is the answer: status and headers, and then the body. The answers
// were compared with those of Swift 2.30.1; where they differ, a comment says why.
func TestConversation(t *testing.T) {
	files, err := filepath.Glob("testdata/*.conv")
	if err != nil || len(files) == 0 {
		t.Fatal("no conversations", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".conv"), func(t *testing.T) {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(data))
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(data), got); d != "" {
				t.Errorf("the answers changed (-want +got):\n%s", d)
			}
		})
	}
}

// play sends the requests of a conversation, and writes it with the answers that came.
func play(t *testing.T, text string) string {
	d := open(t, nil)
	var out strings.Builder
	last := map[string]string{}
	for l := range strings.Lines(text) {
		l = strings.TrimRight(l, "\n")
		if strings.HasPrefix(l, "  ") {
			continue
		}
		out.WriteString(l + "\n")
		if l == "" || l[0] == '#' {
			continue
		}
		a := d.line(l, last)
		for k := range a.head {
			last[k] = a.head.Get(k)
		}
		out.WriteString(shown(a))
	}
	return out.String()
}

var variable = regexp.MustCompile(`\$\{([^}]*)\}`)

// line sends one request.
func (d *door) line(l string, last map[string]string) answer {
	d.t.Helper()
	l = variable.ReplaceAllStringFunc(l, func(v string) string { return last[v[2:len(v)-1]] })
	l, body, _ := strings.Cut(l, "<<")
	if b, err := strconv.Unquote(`"` + strings.ReplaceAll(body, `"`, `\"`) + `"`); err == nil {
		body = b
	}
	parts := strings.Split(l, " | ")
	words := strings.SplitN(strings.TrimSpace(parts[0]), " ", 3)
	if len(words) != 3 {
		d.t.Fatalf("not a request: %s", l)
	}
	var headers []string
	for _, p := range parts[1:] {
		k, v, _ := strings.Cut(p, ":")
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		if k == "X-Service-Token" {
			v = d.token[v]
		}
		headers = append(headers, k, v)
	}
	return d.do(words[0], words[1], words[2], body, headers...)
}

var (
	aside   = []string{"Date", "X-Trans-Id", "X-Openstack-Request-Id", "X-Auth-Token", "X-Storage-Token", "X-Storage-Url", "Content-Length"}
	moments = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?|\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT|\d{10}\.\d{5}`)
	borders = regexp.MustCompile(`boundary=[0-9a-f]+|--[0-9a-f]{32}`)
	origins = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
)

// shown is an answer without what changes each time.
func shown(a answer) string {
	var out strings.Builder
	fmt.Fprintf(&out, "  %d", a.status)
	steady := func(s string) string {
		s = moments.ReplaceAllString(s, "TIME")
		s = origins.ReplaceAllString(s, "http://HOST")
		return borders.ReplaceAllString(s, "BORDER")
	}
	for _, k := range slices.Sorted(maps.Keys(a.head)) {
		if !slices.Contains(aside, k) {
			fmt.Fprintf(&out, " %s=%q", k, steady(strings.Join(a.head[k], ", ")))
		}
	}
	out.WriteString("\n")
	if a.body != "" {
		fmt.Fprintf(&out, "  %q\n", steady(a.body))
	}
	return out.String()
}
