package swift

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Names of what a container says of other origins.
const (
	corsOrigin = "X-Container-Meta-Access-Control-Allow-Origin"
	corsAge    = "X-Container-Meta-Access-Control-Max-Age"
	corsExpose = "X-Container-Meta-Access-Control-Expose-Headers"
)

// corsRules are of the container that a call is about; empty where there is none.
func (c *call) corsRules() map[string]string {
	if c.container == "" || !c.acct.known() {
		return nil
	}
	b, err := c.h.cfg.Space.Container(c.ctx, c.acct.name, c.container)
	if err != nil {
		return nil
	}
	info, err := b.Info(c.ctx)
	if err != nil {
		return nil
	}
	return headersOf(&box{info: info})
}

func allowedOrigin(rules map[string]string, origin string) bool {
	list := strings.Fields(rules[corsOrigin])
	return slices.Contains(list, "*") || slices.Contains(list, origin)
}

// preflight answers OPTIONS.
func (c *call) preflight() (bool, error) {
	if c.method() != http.MethodOptions {
		return false, nil
	}
	h := c.w.Header()
	allow := allowVerbs
	if c.object != "" {
		allow += ", COPY"
	}
	origin, verb := c.header("Origin"), c.header("Access-Control-Request-Method")
	if origin == "" && verb == "" && c.header("Access-Control-Request-Headers") == "" {
		h.Set("Allow", allow)
		c.answer(200, "")
		return true, nil
	}
	rules := c.corsRules()
	if !allowedOrigin(rules, origin) || !slices.Contains(strings.Split(allow, ", "), verb) {
		f := refuse(401).with("Allow", strings.TrimSuffix(allow, ", COPY"))
		f.bare = true
		return true, f
	}
	h.Set("Allow", allow)
	h.Set("Access-Control-Allow-Methods", allow)
	if strings.TrimSpace(rules[corsOrigin]) == "*" {
		h.Set("Access-Control-Allow-Origin", "*")
	} else {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Vary", "Origin")
	}
	if age := rules[corsAge]; age != "" {
		h.Set("Access-Control-Max-Age", age)
	}
	if want := c.header("Access-Control-Request-Headers"); want != "" {
		h.Set("Access-Control-Allow-Headers", want)
		if v := h.Get("Vary"); v != "" {
			h.Set("Vary", v+", Access-Control-Request-Headers")
		} else {
			h.Set("Vary", "Access-Control-Request-Headers")
		}
	}
	h["Content-Type"] = nil // a preflight's answer has none
	h.Set("Content-Length", "0")
	c.w.WriteHeader(200)
	return true, nil
}

// exposed are the headers that any script may read.
const exposed = "cache-control, content-language, content-type, expires, last-modified, pragma, etag, x-timestamp, x-trans-id, x-openstack-request-id"

// cors tells a browser that its script may read the answer.
func (c *call) cors() {
	origin := c.header("Origin")
	if origin == "" || c.sub {
		return
	}
	rules := c.corsRules()
	if !allowedOrigin(rules, origin) {
		return
	}
	h := c.w.Header()
	if strings.TrimSpace(rules[corsOrigin]) == "*" {
		h.Set("Access-Control-Allow-Origin", "*")
	} else {
		h.Set("Access-Control-Allow-Origin", origin)
		c.w.vary = "Origin"
	}
	c.w.expose = exposed
	if more := strings.Join(strings.Fields(rules[corsExpose]), ", "); more != "" {
		c.w.expose += ", " + strings.ToLower(more)
	}
}

// crossdomain lets Flash's descendants in, as far as they exist.
func (c *call) crossdomain() error {
	c.w.Header().Set("Content-Type", "application/xml")
	const text = "<?xml version=\"1.0\"?>\n" +
		"<!DOCTYPE cross-domain-policy SYSTEM \"http://www.adobe.com/xml/dtds/cross-domain-policy.dtd\" >\n" +
		"<cross-domain-policy>\n<allow-access-from domain=\"*\" secure=\"false\" />\n</cross-domain-policy>"
	c.w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	c.w.WriteHeader(200)
	if c.method() != http.MethodHead {
		_, _ = io.WriteString(c.w, text) // a client that is gone is told nothing
	}
	return nil
}
