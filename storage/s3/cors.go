package s3

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	labelCORS    = "s3.cors"
	corsRulesMax = 100
	corsTextsMax = 100 // of each kind in a rule
)

// corsRule is what a bucket allows pages of some origins (Amazon S3 User Guide, "Elements
// of a CORS configuration").
type corsRule struct {
	ID      string   `xml:"ID,omitempty" json:"id,omitempty"`
	Headers []string `xml:"AllowedHeader" json:"headers,omitempty"`
	Methods []string `xml:"AllowedMethod" json:"methods"`
	Origins []string `xml:"AllowedOrigin" json:"origins"`
	Expose  []string `xml:"ExposeHeader" json:"expose,omitempty"`
	Age     *int     `xml:"MaxAgeSeconds,omitempty" json:"ageSeconds,omitempty"`
}

type corsXML struct {
	XMLName xml.Name   `xml:"CORSConfiguration"`
	Space   string     `xml:"xmlns,attr"`
	Rules   []corsRule `xml:"CORSRule"`
}

var corsMethods = []string{"GET", "PUT", "HEAD", "POST", "DELETE"}

// wrong says what a rule lacks, or "".
func (c *corsRule) wrong() string {
	switch {
	case len(c.Methods) == 0 || len(c.Origins) == 0:
		return "needs AllowedMethod and AllowedOrigin"
	case len(c.ID) > 255:
		return "has an ID of more than 255 characters"
	case max(len(c.Methods), len(c.Origins), len(c.Headers), len(c.Expose)) > corsTextsMax:
		return fmt.Sprintf("has more than %d elements of a kind", corsTextsMax)
	case c.Age != nil && *c.Age < 0:
		return "has a MaxAgeSeconds below 0"
	}
	for _, m := range c.Methods {
		if !slices.Contains(corsMethods, m) {
			return fmt.Sprintf("has the unsupported AllowedMethod %q", m)
		}
	}
	for _, s := range slices.Concat(c.Origins, c.Headers) {
		if strings.Count(s, "*") > 1 {
			return fmt.Sprintf("has more than one * in %q", s)
		}
	}
	for _, s := range c.Expose {
		if strings.Contains(s, "*") {
			return fmt.Sprintf("has a * in ExposeHeader %q", s)
		}
	}
	return ""
}

// wild matches text with at most one *.
func wild(pattern, s string) bool {
	head, tail, ok := strings.Cut(pattern, "*")
	if !ok {
		return pattern == s
	}
	return len(s) >= len(head)+len(tail) && strings.HasPrefix(s, head) && strings.HasSuffix(s, tail)
}

// allows says whether the rule is for an origin, a method and the headers of a request,
// and what to call the origin in the answer.
func (c *corsRule) allows(origin, method string, headers []string) (string, bool) {
	if !slices.Contains(c.Methods, method) {
		return "", false
	}
	for _, h := range headers {
		if !slices.ContainsFunc(c.Headers, func(p string) bool { return wild(strings.ToLower(p), h) }) {
			return "", false
		}
	}
	for _, p := range c.Origins {
		if p == "*" {
			return "*", true
		}
		if wild(p, origin) {
			return origin, true
		}
	}
	return "", false
}

func parseCORS(text string) ([]corsRule, error) {
	var rules []corsRule
	if text == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &rules); err != nil {
		return nil, fmt.Errorf("reading CORS rules: %w", err)
	}
	return rules, nil
}

// corsRules are the rules of the bucket that a request names, whoever asks.
func (q *request) corsRules() []corsRule {
	_, info, _, err := q.s.lookup(q.ctx, "", q.name)
	if err != nil {
		return nil
	}
	if q.r.Method == http.MethodOptions { // which opens no bucket
		q.observe(&info)
	}
	rules, err := parseCORS(info.Settings.Labels[labelCORS])
	if err != nil {
		q.s.log.Error("CORS rules cannot be read", "bucket", q.name, "error", err)
	}
	return rules
}

// allowOrigin adds the headers that a browser asks for, where the bucket allows its
// origin. It is called for requests with Origin, before anything else.
func (q *request) allowOrigin() {
	if q.level == service || q.r.Method == http.MethodOptions {
		return
	}
	origin, method := q.header("Origin"), q.r.Method
	if m := q.header("Access-Control-Request-Method"); m != "" {
		method = m
	}
	rules := q.corsRules()
	if len(rules) > 0 {
		q.w.Header().Add("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
	}
	for i := range rules {
		if as, ok := rules[i].allows(origin, method, nil); ok {
			q.tellOrigin(&rules[i], as)
			return
		}
	}
}

func (q *request) tellOrigin(c *corsRule, as string) {
	q.set("Access-Control-Allow-Origin", as)
	q.set("Access-Control-Allow-Methods", strings.Join(c.Methods, ", "))
	if as != "*" {
		q.set("Access-Control-Allow-Credentials", "true")
	}
	if len(c.Expose) > 0 {
		q.set("Access-Control-Expose-Headers", strings.Join(c.Expose, ", "))
	}
	if c.Age != nil {
		q.set("Access-Control-Max-Age", strconv.Itoa(*c.Age))
	}
}

// preflight answers OPTIONS.
func (q *request) preflight() error {
	origin, method := q.header("Origin"), q.header("Access-Control-Request-Method")
	switch {
	case origin == "":
		return fail("BadRequest", "Insufficient information: a preflight request needs the header Origin.")
	case !slices.Contains(corsMethods, method):
		return fail("BadRequest", "Access-Control-Request-Method must be one of %s, not %q.", strings.Join(corsMethods, ", "), method)
	case q.level == service:
		return fail("AccessForbidden", "CORSResponse: there is no CORS without a bucket.")
	}
	var headers []string
	for h := range strings.SplitSeq(strings.Join(q.r.Header["Access-Control-Request-Headers"], ","), ",") {
		if h = strings.ToLower(strings.TrimSpace(h)); h != "" {
			headers = append(headers, h)
		}
	}
	rules := q.corsRules()
	if len(rules) == 0 {
		return fail("AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.")
	}
	q.w.Header().Add("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
	for i := range rules {
		as, ok := rules[i].allows(origin, method, headers)
		if !ok {
			continue
		}
		q.tellOrigin(&rules[i], as)
		if len(headers) > 0 {
			q.set("Access-Control-Allow-Headers", strings.Join(headers, ", "))
		}
		return q.status(http.StatusOK)
	}
	return fail("AccessForbidden", "CORSResponse: no rule of the bucket allows this origin with this method and these headers.")
}

func (q *request) cors() error {
	rules, err := parseCORS(q.label(labelCORS))
	if err != nil {
		return err
	}
	if len(rules) == 0 {
		return fail("NoSuchCORSConfiguration", "The bucket has no CORS configuration.")
	}
	return q.replyWith(corsXML{Space: xmlns, Rules: rules})
}

func (q *request) putCORS() error {
	var f corsXML
	if err := q.decode(&f); err != nil {
		return err
	}
	if len(f.Rules) == 0 || len(f.Rules) > corsRulesMax {
		return fail("MalformedXML", "A CORSConfiguration has 1 to %d rules, not %d.", corsRulesMax, len(f.Rules))
	}
	for i := range f.Rules {
		if why := f.Rules[i].wrong(); why != "" {
			return fail("InvalidRequest", "CORSRule %d %s.", i+1, why)
		}
	}
	b, err := json.Marshal(f.Rules)
	if err != nil {
		return err
	}
	if err := q.setLabel(labelCORS, string(b)); err != nil {
		return err
	}
	return q.status(http.StatusOK)
}

func (q *request) deleteCORS() error {
	if err := q.setLabel(labelCORS, ""); err != nil {
		return err
	}
	return q.status(http.StatusNoContent)
}
