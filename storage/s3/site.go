package s3

import (
	"encoding/xml"
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
)

// A bucket's web site is what browsers see at a host of its own ("Hosting a static website
// using Amazon S3"): pages in place of XML, an index for what ends with a slash, and
// redirections. Nobody signs in there, so that it shows what everybody may read.

// Site says whether a request is for a bucket's web site.
func (s *Server) Site(r *http.Request) bool {
	_, ok := below(s.sites, r.Host)
	return ok
}

// visit answers who visits a web site.
func (q *request) visit() {
	if err := q.page(); err != nil {
		q.watchFailed(err)
		q.failPage(err)
	}
}

// page finds what belongs to a path.
func (q *request) page() error {
	q.level, q.op = object, routes[routeKey{object, http.MethodGet, ""}]
	q.key = strings.TrimPrefix(q.r.URL.Path, "/")
	switch {
	case q.r.Method == http.MethodOptions:
		return q.preflight()
	case q.r.Method != http.MethodGet && q.r.Method != http.MethodHead:
		q.set("Allow", "GET, HEAD, OPTIONS")
		return fail("MethodNotAllowed", "The method %s is not allowed at a web site.", q.r.Method)
	case len(q.key) > storage.KeyBytesMax || !utf8.ValidString(q.key) || strings.Contains(q.key, "\x00"):
		return fail("InvalidArgument", "The path is no key of an object.")
	}
	if err := q.open(); err != nil {
		return err
	}
	if q.r.Header["Origin"] != nil {
		q.allowOrigin()
	}
	text := q.label(labelWebsite)
	if text == "" {
		return fail("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration.")
	}
	var site websiteXML
	if err := xml.Unmarshal([]byte(text), &site); err != nil {
		return err
	}
	if all := site.Redirect; all != nil {
		return q.sendTo(http.StatusMovedPermanently, all.Protocol, all.HostName, q.key)
	}
	if r := site.rule(q.key, 0); r != nil {
		return q.follow(r, q.key)
	}
	path := q.key
	err := q.showPage(site.Index.Suffix)
	if err == nil || q.begun {
		return err
	}
	e := asError(err)
	if r := site.rule(path, e.Status); r != nil {
		return q.follow(r, path)
	}
	if site.Error == nil || e.Status < 400 || e.Status >= 500 || e.Status == http.StatusPreconditionFailed || e.Status == http.StatusRequestedRangeNotSatisfiable {
		return err
	}
	return q.showErrorPage(site.Error.Key, e)
}

// showPage sends the object of a path, or the index below it. Of a path that has an index
// and no slash, the browser is told the one with a slash.
func (q *request) showPage(index string) error {
	path := q.key
	if path == "" || strings.HasSuffix(path, "/") {
		q.key += index
	}
	info, err := q.visible()
	if err != nil && q.key == path {
		q.key = path + "/" + index
		if _, e := q.visible(); e == nil {
			return q.sendTo(http.StatusFound, "", "", path+"/")
		}
		q.key = path
	}
	if err != nil {
		return err
	}
	if to := info.Meta.System[systemRedirect]; to != "" {
		q.set("Location", to)
		return q.status(http.StatusMovedPermanently)
	}
	return q.getObject()
}

// visible finds the object that is asked for, if everybody may read it.
func (q *request) visible() (*storage.Info, error) {
	info, err := q.bucket.Stat(q.ctx, q.key, storage.ReadOptions{})
	if err != nil {
		return nil, q.absent(err, "", iam.GetObject)
	}
	return &info, q.authoriseOn(iam.GetObject, q.key, &info)
}

// showErrorPage sends the object that is shown in place of an error. Without it, or if
// it may not be read, the error is told.
func (q *request) showErrorPage(key string, e *Error) error {
	q.key = key
	if _, err := q.visible(); err != nil {
		return e
	}
	o, err := q.bucket.Open(q.ctx, key, storage.ReadOptions{})
	if err != nil {
		return err
	}
	defer o.Close()
	info := o.Info()
	q.show(&info)
	q.tellError(e)
	q.set("Content-Length", strconv.FormatInt(info.Size, 10))
	if q.r.Method == http.MethodHead {
		return q.status(e.Status)
	}
	return q.sendAs(o, span{n: info.Size}, e.Status)
}

// routingRule sends visitors elsewhere: those of a prefix, those who would get an error,
// or all.
type routingRule struct {
	Condition *struct {
		KeyPrefixEquals             string `xml:",omitempty"`
		HttpErrorCodeReturnedEquals string `xml:",omitempty"`
	}
	Redirect struct {
		HostName             string  `xml:",omitempty"`
		HttpRedirectCode     string  `xml:",omitempty"`
		Protocol             string  `xml:",omitempty"`
		ReplaceKeyPrefixWith *string `xml:",omitempty"`
		ReplaceKeyWith       *string `xml:",omitempty"`
	}
}

// rulesOfSiteMax is S3's limit of routing rules.
const rulesOfSiteMax = 50

func (r *routingRule) wrong() error {
	to := &r.Redirect
	code, _ := digits(to.HttpRedirectCode)
	switch {
	case r.Condition != nil && r.Condition.KeyPrefixEquals == "" && r.Condition.HttpErrorCodeReturnedEquals == "":
		return fail("InvalidRequest", "The Condition of a RoutingRule needs KeyPrefixEquals or HttpErrorCodeReturnedEquals.")
	case to.HostName+to.HttpRedirectCode+to.Protocol == "" && to.ReplaceKeyPrefixWith == nil && to.ReplaceKeyWith == nil:
		return fail("InvalidRequest", "The Redirect of a RoutingRule is empty.")
	case to.ReplaceKeyPrefixWith != nil && to.ReplaceKeyWith != nil:
		return fail("InvalidRequest", "You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
	case to.HttpRedirectCode != "" && (code <= 300 || code > 399):
		return fail("InvalidRequest", "The provided HTTP redirect code (%s) is not valid. Valid codes are 3XX except 300.", to.HttpRedirectCode)
	case to.Protocol != "" && to.Protocol != "http" && to.Protocol != "https":
		return badProtocol(to.Protocol)
	}
	if r.Condition == nil || r.Condition.HttpErrorCodeReturnedEquals == "" {
		return nil
	}
	if code, _ := digits(r.Condition.HttpErrorCodeReturnedEquals); code < 400 || code > 599 {
		return fail("InvalidRequest", "The provided HTTP error code (%s) is not valid. Valid codes are 4XX or 5XX.", r.Condition.HttpErrorCodeReturnedEquals)
	}
	return nil
}

func badProtocol(p string) error {
	return fail("InvalidRequest", "Invalid protocol, protocol can be http or https and not %q. If not defined the protocol will be selected automatically.", p)
}

// rule finds the first rule for a key and for the status of an error, which is 0 before
// the object is looked at.
func (f *websiteXML) rule(key string, status int) *routingRule {
	for i := range f.Rules {
		prefix, code := "", ""
		if c := f.Rules[i].Condition; c != nil {
			prefix, code = c.KeyPrefixEquals, c.HttpErrorCodeReturnedEquals
		}
		if strings.HasPrefix(key, prefix) && (code == "" && status == 0 || code != "" && code == strconv.Itoa(status)) {
			return &f.Rules[i]
		}
	}
	return nil
}

// follow sends a visitor where a rule says.
func (q *request) follow(r *routingRule, key string) error {
	to, status := &r.Redirect, http.StatusMovedPermanently
	if n, ok := digits(to.HttpRedirectCode); ok {
		status = int(n)
	}
	switch {
	case to.ReplaceKeyWith != nil:
		key = *to.ReplaceKeyWith
	case to.ReplaceKeyPrefixWith != nil:
		if r.Condition != nil {
			key = strings.TrimPrefix(key, r.Condition.KeyPrefixEquals)
		}
		key = *to.ReplaceKeyPrefixWith + key
	}
	return q.sendTo(status, to.Protocol, to.HostName, key)
}

// sendTo redirects to a key of a host, with the query that came; "" is the host, and the
// protocol, of the request.
func (q *request) sendTo(status int, protocol, host, key string) error {
	if protocol == "" {
		protocol = "http"
		if q.r.TLS != nil {
			protocol = "https"
		}
	}
	if host == "" {
		host = q.r.Host
	}
	at := url.URL{Scheme: protocol, Host: host, Path: "/" + key, RawQuery: q.r.URL.RawQuery}
	q.set("Location", at.String())
	return q.status(status)
}

// tellError names an error in the head, for programs.
func (q *request) tellError(e *Error) {
	q.set("X-Amz-Error-Code", e.Code)
	q.set("X-Amz-Error-Message", strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, e.Message))
}

// failPage tells an error in HTML.
func (q *request) failPage(err error) {
	e := asError(err)
	if q.begun || e.Status == http.StatusNotModified {
		q.fail(err)
		return
	}
	if e.Status >= 500 && !gone(err) {
		q.s.log.Error("page failed", "id", q.id, "bucket", q.name, "key", q.key, "error", err)
	}
	h := q.w.Header()
	for _, k := range append([]string{"Etag", "Last-Modified", "Accept-Ranges"}, kept...) {
		delete(h, k)
	}
	q.tellError(e)
	title := strconv.Itoa(e.Status) + " " + http.StatusText(e.Status)
	text := "<html>\n<head><title>" + title + "</title></head>\n<body>\n<h1>" + title + "</h1>\n<ul>\n<li>Code: " + html.EscapeString(e.Code) +
		"</li>\n<li>Message: " + html.EscapeString(e.Message) + "</li>\n<li>RequestId: " + q.id + "</li>\n<li>HostId: " + q.s.host[0] + "</li>\n</ul>\n</body>\n</html>\n"
	q.set("Content-Type", "text/html; charset=utf-8")
	q.set("Content-Length", strconv.Itoa(len(text)))
	q.begun = true
	q.w.WriteHeader(e.Status)
	if q.r.Method != http.MethodHead {
		_, _ = q.w.Write([]byte(text)) // a visitor who went away
	}
}
