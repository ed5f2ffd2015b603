package polder_test

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// page is what the rules see of a Markdown file.
type page struct {
	levels []int    // of its headings, in order
	blocks []block  // fenced
	spans  []string // of code, inline
	links  []string // targets, without fragment
	rooms  []string // first cells and items that are a directory: `system/`
}

type block struct {
	lang string
	text string
}

var (
	span    = regexp.MustCompile("`([^`\n]+)`")
	link    = regexp.MustCompile(`\]\(<?([^)\s>#]*)(?:#[^)\s>]*)?>?\)`)
	roomRow = regexp.MustCompile("^\\s*[|*-]\\s*`([a-z0-9.][a-z0-9_./-]*)/`")
)

func readPage(text string) page {
	var p page
	var in *block
	fence := ""
	for l := range strings.Lines(text) {
		l = strings.TrimRight(l, "\n")
		trimmed := strings.TrimSpace(l)
		switch {
		case in != nil && trimmed == fence:
			p.blocks, in = append(p.blocks, *in), nil
		case in != nil:
			in.text += l + "\n"
		case strings.HasPrefix(trimmed, "```"):
			fence = trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, "`"))]
			in = &block{lang: strings.TrimSpace(strings.Trim(trimmed, "`"))}
		default:
			if n := len(l) - len(strings.TrimLeft(l, "#")); n > 0 && strings.HasPrefix(l[n:], " ") {
				p.levels = append(p.levels, n)
			}
			if m := roomRow.FindStringSubmatch(l); m != nil {
				p.rooms = append(p.rooms, m[1])
			}
			for _, m := range span.FindAllStringSubmatch(l, -1) {
				p.spans = append(p.spans, m[1])
			}
			for _, m := range link.FindAllStringSubmatch(span.ReplaceAllString(l, ""), -1) {
				p.links = append(p.links, m[1])
			}
		}
	}
	return p
}

func (t *tree) pages() []string {
	return slices.DeleteFunc(slices.Clone(t.paths), func(p string) bool {
		return path.Ext(p) != ".md" || strings.Contains("/"+p, "/testdata/")
	})
}

const readmeEN, readmeZH = "README.md", "README.zh-CN.md"

func checkReadme(t *tree) []string {
	var out []string
	for _, p := range []string{readmeEN, readmeZH} {
		if !t.has(p) && (t.stands() || t.has(readmeEN) || t.has(readmeZH)) {
			out = append(out, p+" is missing")
		}
	}
	if len(out) > 0 || !t.has(readmeEN) {
		return out
	}
	en, zh := readPage(t.read(readmeEN)), readPage(t.read(readmeZH))
	if !slices.Equal(en.levels, zh.levels) {
		out = append(out, fmt.Sprintf("the headings differ: %s has levels %v, %s has %v", readmeEN, en.levels, readmeZH, zh.levels))
	}
	if len(en.blocks) != len(zh.blocks) {
		return append(out, fmt.Sprintf("%s has %d code blocks, %s has %d", readmeEN, len(en.blocks), readmeZH, len(zh.blocks)))
	}
	for i := range en.blocks {
		a, b := en.blocks[i], zh.blocks[i]
		if a.lang != b.lang || a.lang != "" && a.lang != "text" && code(a.text) != code(b.text) {
			out = append(out, fmt.Sprintf("code block %d differs between %s and %s (comments aside):\n%s\n---\n%s", i+1, readmeEN, readmeZH, a.text, b.text))
		}
	}
	if a, b := targets(en.links), targets(zh.links); !slices.Equal(a, b) {
		out = append(out, fmt.Sprintf("the links differ: %s has %v, %s has %v", readmeEN, a, readmeZH, b))
	}
	return out
}

var comment = regexp.MustCompile(`(?m)(^|\s+)#\s.*$`)

// code is a block without its comments, which are translated.
func code(s string) string {
	var out strings.Builder
	for l := range strings.Lines(comment.ReplaceAllString(s, "")) {
		if l = strings.TrimRight(l, " \n"); l != "" {
			out.WriteString(l + "\n")
		}
	}
	return out.String()
}

// targets are links in order of name, without those from one README to the other.
func targets(links []string) []string {
	out := slices.DeleteFunc(slices.Clone(links), func(l string) bool { return l == readmeEN || l == readmeZH })
	slices.Sort(out)
	return out
}

var (
	makeCall = regexp.MustCompile(`\bmake((?:[ ]+[a-z][a-z0-9-]*)+)`)
	makeRule = regexp.MustCompile(`(?m)^([a-zA-Z0-9_./ -]+?)[ ]*::?(?:[^=]|$)`)
)

func checkTarget(t *tree) []string {
	if !t.has("Makefile") {
		if t.stands() {
			return []string{"Makefile is missing"}
		}
		return nil
	}
	known := map[string]bool{}
	for _, m := range makeRule.FindAllStringSubmatch(t.read("Makefile"), -1) {
		for _, n := range strings.Fields(m[1]) {
			known[n] = true
		}
	}
	var out []string
	for _, p := range t.pages() {
		pg := readPage(t.read(p))
		said := slices.Clone(pg.spans)
		for _, b := range pg.blocks {
			said = append(said, code(b.text))
		}
		for _, s := range said {
			for _, m := range makeCall.FindAllStringSubmatch(s, -1) {
				for _, n := range strings.Fields(m[1]) {
					if !known[n] {
						out = append(out, fmt.Sprintf("%s says `make %s`, which the Makefile does not have", p, n))
					}
				}
			}
		}
	}
	return out
}

const mapPage = "ARCHITECTURE.md"

func checkMap(t *tree) []string {
	if !t.has(mapPage) {
		if t.stands() {
			return []string{mapPage + " is missing"}
		}
		return nil
	}
	var out []string
	drawn := map[string]bool{}
	for _, r := range readPage(t.read(mapPage)).rooms {
		top, _, _ := strings.Cut(r, "/")
		drawn[top] = true
		if !t.hasDir(r) {
			out = append(out, fmt.Sprintf("%s has a line for `%s/`, which does not exist", mapPage, r))
		}
	}
	tops := map[string]bool{}
	for _, p := range t.paths {
		if top, _, ok := strings.Cut(p, "/"); ok && !strings.HasPrefix(top, ".") {
			tops[top] = true
		}
	}
	for _, top := range slices.Sorted(maps.Keys(tops)) {
		if !drawn[top] {
			out = append(out, fmt.Sprintf("%s has no line for `%s/`; add a table row or list item that begins with it, in backquotes and with the slash", mapPage, top))
		}
	}
	return out
}

func (t *tree) hasDir(dir string) bool {
	return slices.ContainsFunc(t.paths, func(p string) bool { return strings.HasPrefix(p, dir+"/") })
}

func checkLink(t *tree) []string {
	if !t.stands() {
		return nil
	}
	var out []string
	for _, p := range t.pages() {
		for _, l := range readPage(t.read(p)).links {
			if l == "" || strings.Contains(l, ":") {
				continue
			}
			if to := path.Join(path.Dir(p), l); !t.has(to) {
				out = append(out, fmt.Sprintf("%s links to %s, which does not exist", p, l))
			}
		}
	}
	return out
}

// elsewhere matches paths that mean something on one machine only.
var elsewhere = regexp.MustCompile(`(?m)(?:^|[\s"'` + "`" + `(=:])((?:/home/[a-z][\w-]*/|/Users/\w+/|/work/|/root/[\w.]|/mnt/\w)[\w./-]*|(?:\.\./)+shared/[\w./-]*)`)

func checkPath(t *tree) []string {
	var out []string
	for _, p := range t.paths {
		ext := path.Ext(p)
		read := path.Base(p) == "Makefile" || under(p, ".ci") || under(p, ".github") || under(p, "bench") ||
			slices.Contains([]string{".md", ".txt", ".sh", ".yaml", ".yml", ".service"}, ext)
		if !read || ext == ".go" || strings.Contains("/"+p, "/testdata/") {
			continue
		}
		for _, m := range elsewhere.FindAllStringSubmatch(t.read(p), -1) {
			out = append(out, fmt.Sprintf("%s names %s, a path of one machine", p, m[1]))
		}
	}
	return out
}

// secrets are what a key or a token looks like; hint is what every one holds.
var secrets = []struct {
	what, hint string
	form       *regexp.Regexp
}{
	{"a private key", "PRIVATE KEY", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[nr]|[\w-]+: [^\n]*\n)+[A-Za-z0-9+/=]{40}`)},
	{"a client key in a kubeconfig", "client-key-data", regexp.MustCompile(`client-key-data:\s*"?[A-Za-z0-9+/=]{40}`)},
	{"a GitHub token", "gh", regexp.MustCompile(`\bgh[pousr]_[A-Za-z0-9]{36}`)},
	{"a GitHub token", "github_pat_", regexp.MustCompile(`\bgithub_pat_\w{60}`)},
	{"a GitLab token", "glpat-", regexp.MustCompile(`\bglpat-[\w-]{20}`)},
	{"an AWS key", "AKIA", regexp.MustCompile(`\bAKIA[A-Z0-9]{16}\b`)},
	{"an AWS session key", "ASIA", regexp.MustCompile(`\bASIA[A-Z0-9]{16}\b`)},
	{"a Google key", "AIza", regexp.MustCompile(`\bAIza[\w-]{35}`)},
	{"a Slack token", "xox", regexp.MustCompile(`\bxox[abprs]-[0-9A-Za-z-]{20}`)},
	{"a model provider's key", "sk-", regexp.MustCompile(`\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{40}`)},
	{"a Hugging Face token", "hf_", regexp.MustCompile(`\bhf_[A-Za-z0-9]{34}\b`)},
	{"an npm token", "npm_", regexp.MustCompile(`\bnpm_[A-Za-z0-9]{36}\b`)},
	{"a JSON web token", "eyJ", regexp.MustCompile(`\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}`)},
}

func checkSecret(t *tree) []string {
	var out []string
	for _, p := range t.paths {
		b := []byte(t.read(p))
		if bytes.IndexByte(b[:min(len(b), 8000)], 0) >= 0 {
			continue // not text
		}
		for _, s := range secrets {
			if !bytes.Contains(b, []byte(s.hint)) {
				continue
			}
			for _, at := range s.form.FindAllIndex(b, -1) {
				if bytes.HasSuffix(b[at[0]:at[1]], []byte("EXAMPLE")) {
					continue // AWS' own documentation
				}
				out = append(out, fmt.Sprintf("%s:%d holds %s; remove it, and replace it wherever it is in use", p, 1+bytes.Count(b[:at[0]], []byte("\n")), s.what))
			}
		}
	}
	return out
}

const agentsLinesMax = 100

func checkAgents(t *tree) []string {
	if !t.has("AGENTS.md") {
		if t.stands() {
			return []string{"AGENTS.md is missing"}
		}
		return nil
	}
	if n := strings.Count(t.read("AGENTS.md"), "\n"); n >= agentsLinesMax {
		return []string{fmt.Sprintf("AGENTS.md has %d lines, the limit is under %d", n, agentsLinesMax)}
	}
	return nil
}
