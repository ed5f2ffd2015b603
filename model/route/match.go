package route

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strings"

	"polder.dev/polder/api/v1alpha1"
)

// Headers by which a client describes its request.
const (
	HeaderTask           = "Polder-Task"
	HeaderClassification = "Polder-Classification"
	headerLanguage       = "Content-Language"
)

// tokens are the characters of a header's name.
const tokens = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// Request is what rules look at.
type Request struct {
	Header http.Header
	// Tenant of the client.
	Tenant string
	// Bytes of the body.
	Bytes int64
}

// match holds for a request when each of its parts does; a nil part holds for all.
type match struct {
	tasks, languages, tenants, classifications map[string]bool
	headers                                    map[string]string // by canonical name
	bytesMin, bytesMax                         int64
}

func compileMatch(spec *v1alpha1.RouteMatch, at string) (match, error) {
	m := match{
		tasks: set(spec.Tasks), tenants: set(spec.Tenants), classifications: set(spec.Classifications),
		bytesMin: spec.BytesMin, bytesMax: spec.BytesMax,
	}
	for i, l := range spec.Languages {
		if l == "" || strings.Trim(strings.ToLower(l), "abcdefghijklmnopqrstuvwxyz") != "" {
			return match{}, fmt.Errorf("%s.languages[%d]: %q is no primary subtag; write one like en or zh", at, i, l)
		}
		if m.languages == nil {
			m.languages = map[string]bool{}
		}
		m.languages[strings.ToLower(l)] = true
	}
	for name, value := range spec.Headers {
		if name == "" || strings.Trim(name, tokens) != "" {
			return match{}, fmt.Errorf("%s.headers: %q is no name of a header", at, name)
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		switch name {
		case "Authorization", "Cookie":
			return match{}, fmt.Errorf("%s.headers: %s tells who asks, and is not looked at by rules; use tenants", at, name)
		}
		if m.headers == nil {
			m.headers = map[string]string{}
		}
		if have, twice := m.headers[name]; twice && have != value {
			return match{}, fmt.Errorf("%s.headers: %s has two values, which no request could have at once; give one", at, name)
		}
		m.headers[name] = value
	}
	if m.bytesMin < 0 || m.bytesMax < 0 || m.bytesMax > 0 && m.bytesMin > m.bytesMax {
		return match{}, fmt.Errorf("%s: bytesMin is above bytesMax, so no request could fit; let it be at most that", at)
	}
	return m, nil
}

func set(list []string) map[string]bool {
	if len(list) == 0 {
		return nil
	}
	out := map[string]bool{}
	for _, v := range list {
		out[v] = true
	}
	return out
}

func (m *match) fits(r *Request) bool {
	switch {
	case m.tasks != nil && !m.tasks[r.Header.Get(HeaderTask)],
		m.classifications != nil && !m.classifications[r.Header.Get(HeaderClassification)],
		m.tenants != nil && !m.tenants[r.Tenant],
		m.languages != nil && !m.speaks(r.Header.Values(headerLanguage)),
		r.Bytes < m.bytesMin,
		m.bytesMax > 0 && r.Bytes > m.bytesMax:
		return false
	}
	for name, want := range m.headers {
		if r.Header.Get(name) != want {
			return false
		}
	}
	return true
}

// speaks: one of the languages of the content is meant.
func (m *match) speaks(values []string) bool {
	for _, v := range values {
		for tag := range strings.SplitSeq(v, ",") {
			primary, _, _ := strings.Cut(strings.TrimSpace(tag), "-")
			if m.languages[strings.ToLower(primary)] {
				return true
			}
		}
	}
	return false
}
