package swift

import (
	"bufio"
	"html"
	"net/http"
	"strconv"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/seal"
)

// site is what a container says of being one.
type site struct {
	index, err, css, label string
	listings               bool
	dirType                string
}

func siteOf(b *box) site {
	get := func(n string) string { return b.label(labelHeader + containerMeta + "Web-" + n) }
	s := site{
		index: get("Index"), err: get("Error"), css: get("Listings-Css"), label: get("Listings-Label"),
		listings: on(get("Listings")), dirType: get("Directory-Type"),
	}
	if s.dirType == "" {
		s.dirType = "application/directory"
	}
	return s
}

// staticWeb answers browsers, which bear no token: an index in place of a listing, a page
// in place of an error.
func (c *call) staticWeb() (bool, error) {
	if c.method() != http.MethodGet && c.method() != http.MethodHead || c.container == "" || !c.acct.known() {
		return false, nil
	}
	if !c.who.Anonymous() && !on(c.header("X-Web-Mode")) || c.badAuth {
		return false, nil
	}
	b, err := c.h.cfg.Space.Container(c.ctx, c.acct.name, c.container)
	if err != nil {
		return false, nil
	}
	info, err := b.Info(c.ctx)
	if err != nil {
		return false, nil
	}
	c.observe(&info)
	rules, err := c.h.rulesOf(&info)
	if err != nil {
		return false, nil
	}
	w := &web{call: c, box: &box{Bucket: b, info: info, rules: rules, acct: c.acct, shown: c.shown, name: c.container, vault: seal.Over(b, seal.Opener{Keys: c.h.cfg.Keys})}}
	w.site = siteOf(w.box)
	if w.site.index == "" && w.site.err == "" && !w.site.listings {
		return false, nil
	}
	if c.object == "" {
		return w.container()
	}
	return w.page()
}

// web is a call to a site.
type web struct {
	*call
	box  *box
	site site
}

// container answers for the site's root.
func (w *web) container() (bool, error) {
	if w.site.index == "" && !w.site.listings {
		if w.site.err != "" && !w.may(w.box, iam.ListBucket, "") {
			return true, w.error(w.status(iam.ListBucket, ""))
		}
		return false, nil
	}
	if !strings.HasSuffix(w.r.URL.Path, "/") {
		return true, w.redirect()
	}
	if w.site.index == "" {
		return true, w.listing("")
	}
	switch status := w.find(w.site.index); {
	case status == 200:
		return true, w.serveKey(w.site.index)
	case status == 404:
		return true, w.listing("")
	default:
		return true, w.error(status)
	}
}

// page answers for an object, or for what is below a name.
func (w *web) page() (bool, error) {
	key := w.object
	status := w.find(key)
	if status == 200 {
		if i, err := w.box.Stat(w.ctx, key, storage.ReadOptions{}); err != nil || i.Size > 1 || i.Meta.ContentType != w.site.dirType {
			return false, nil
		}
		status = 404 // a mark of a directory
	}
	if status != 404 || w.site.index == "" && !w.site.listings {
		if status != 404 && status != 401 && status != 403 {
			return false, nil
		}
		return true, w.error(status)
	}
	if !strings.HasSuffix(key, "/") {
		l, err := w.box.List(w.ctx, storage.ListOptions{Prefix: key + "/", Limit: 1})
		if err != nil || l.Size() == 0 || !w.may(w.box, iam.ListBucket, "") && w.find(key+"/"+w.site.index) != 200 {
			return true, w.error(404)
		}
		return true, w.redirect()
	}
	if w.site.index != "" {
		if s := w.find(key + w.site.index); s == 200 {
			return true, w.serveKey(key + w.site.index)
		} else if s != 404 {
			return true, w.error(s)
		}
	}
	return true, w.listing(key)
}

// status is 200 where an action is allowed.
func (w *web) status(a iam.Action, key string) int {
	if w.may(w.box, a, key) {
		return 200
	}
	return faultOf(w.denied()).status
}

// find says whether an object is there, and may be seen.
func (w *web) find(key string) int {
	if s := w.status(iam.GetObject, key); s != 200 {
		return s
	}
	if _, err := w.box.Stat(w.ctx, key, storage.ReadOptions{}); err != nil {
		return 404
	}
	return 200
}

// serveKey answers with another object.
func (w *web) serveKey(key string) error {
	w.object = key
	return w.objectGet()
}

// redirect asks for the same with a slash.
func (w *web) redirect() error {
	to := w.origin() + quoted(w.r.URL.Path) + "/"
	if w.r.URL.RawQuery != "" {
		to += "?" + w.r.URL.RawQuery
	}
	return refuse(301).with("Location", to)
}

// error answers with the site's own page for a status, if there is one.
func (w *web) error(status int) error {
	if status == 200 {
		status = 404
	}
	if w.site.err != "" {
		key := strconv.Itoa(status) + w.site.err
		if w.find(key) == 200 {
			w.w.override = status
			w.r.Header.Del("Range")
			for _, n := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
				w.r.Header.Del(n)
			}
			return w.serveKey(key)
		}
	}
	return refuse(status)
}

const defaultStyle = `  <style type="text/css">
   h1 {font-size: 1em; font-weight: bold;}
   th {text-align: left; padding: 0px 1em 0px 1em;}
   td {padding: 0px 1em 0px 1em;}
   a {text-decoration: none;}
  </style>
`

const disabled = `<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN" "http://www.w3.org/TR/html4/loose.dtd">
<html>
 <head>
  <title>Listing of %s</title>
 </head>
 <body>
  <h1>Web Listing Disabled</h1>
  <p>The owner of this web site has disabled web listing.</p>
 </body>
</html>
`

// listing is a page that lists what is below a prefix.
func (w *web) listing(prefix string) error {
	label := w.r.URL.Path
	if w.site.label != "" {
		label = w.site.label + "/" + prefix
	}
	if !w.site.listings {
		if s := w.status(iam.ListBucket, ""); s != 200 {
			return w.error(s)
		}
		if w.site.err != "" && w.find("404"+w.site.err) == 200 {
			return w.error(404)
		}
		return refusef(404, disabled, html.EscapeString(label))
	}
	if s := w.status(iam.ListBucket, ""); s != 200 {
		return w.error(s)
	}
	page, err := w.box.List(w.ctx, storage.ListOptions{Prefix: prefix, Delimiter: "/"})
	if err != nil {
		return err
	}
	if page.Size() == 0 && prefix != "" {
		return w.error(404)
	}
	h := w.w.Header()
	h.Set("Content-Type", kindHTML)
	if w.method() == http.MethodHead {
		w.w.WriteHeader(200)
		return nil
	}
	l := &lister{out: bufio.NewWriter(w.w), f: plain}
	title := html.EscapeString(label)
	l.text("<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01 Transitional//EN\" \"http://www.w3.org/TR/html4/loose.dtd\">\n",
		"<html>\n <head>\n  <title>Listing of ", title, "</title>\n")
	if w.site.css != "" {
		l.text("  <link rel=\"stylesheet\" type=\"text/css\" href=\"", html.EscapeString(w.cssLink(prefix)), "\" />\n")
	} else {
		l.text(defaultStyle)
	}
	l.text(" </head>\n <body>\n  <h1 id=\"title\">Listing of ", title, "</h1>\n  <table id=\"listing\">\n",
		"   <tr id=\"heading\">\n    <th class=\"colname\">Name</th>\n    <th class=\"colsize\">Size</th>\n    <th class=\"coldate\">Date</th>\n   </tr>\n")
	if prefix != "" {
		l.text("   <tr id=\"parent\" class=\"item\">\n    <td class=\"colname\"><a href=\"../\">../</a></td>\n",
			"    <td class=\"colsize\">&nbsp;</td>\n    <td class=\"coldate\">&nbsp;</td>\n   </tr>\n")
	}
	w.rows(l, &page, prefix)
	l.text("  </table>\n </body>\n</html>\n")
	return l.out.Flush()
}

func (w *web) rows(l *lister, page *storage.Listing, prefix string) {
	for _, p := range page.Prefixes {
		n := strings.TrimPrefix(p, prefix)
		l.text("   <tr class=\"item subdir\">\n    <td class=\"colname\"><a href=\"", quoted(n), "\">", html.EscapeString(n), "</a></td>\n",
			"    <td class=\"colsize\">&nbsp;</td>\n    <td class=\"coldate\">&nbsp;</td>\n   </tr>\n")
	}
	for i := range page.Objects {
		e := w.entryOf(&page.Objects[i])
		n := strings.TrimPrefix(e.Name, prefix)
		if n == "" {
			continue
		}
		class := "item"
		for t := range strings.SplitSeq(strings.ToLower(e.ContentType), "/") {
			class += " type-" + t
		}
		l.text("   <tr class=\"", html.EscapeString(class), "\">\n    <td class=\"colname\"><a href=\"", quoted(n), "\">", html.EscapeString(n), "</a></td>\n",
			"    <td class=\"colsize\">", human(e.Bytes), "</td>\n    <td class=\"coldate\">", strings.Replace(e.LastModified[:19], "T", " ", 1), "</td>\n   </tr>\n")
	}
}

// cssLink is relative to the page, or a URL.
func (w *web) cssLink(prefix string) string {
	if strings.HasPrefix(w.site.css, "http://") || strings.HasPrefix(w.site.css, "https://") || strings.HasPrefix(w.site.css, "/") {
		return w.site.css
	}
	return strings.Repeat("../", strings.Count(prefix, "/")) + quoted(w.site.css)
}

// human writes a size shortly.
func human(n int64) string {
	units := " KMGTPE"
	u := 0
	v := n
	for v >= 1024 && u < len(units)-1 {
		v = (v + 512) / 1024
		u++
	}
	if u == 0 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(v, 10) + units[u:u+1] + "i"
}
