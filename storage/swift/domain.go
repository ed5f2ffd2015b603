package swift

import (
	"net"
	"net/http"
	"strings"
)

// remap turns CONTAINER.ACCOUNT.DOMAIN/OBJECT into a path of Swift's; "" where the host's
// name cannot be one. ok says that the host is below a domain that is configured.
func (h *Handler) remap(r *http.Request) (path string, ok bool) {
	if len(h.cfg.Domains) == 0 {
		return "", false
	}
	host := strings.ToLower(r.Host)
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	for _, d := range h.cfg.Domains {
		name, found := strings.CutSuffix(host, d)
		if !found || name == "" {
			continue
		}
		labels := strings.Split(name, ".")
		if len(labels) > 2 {
			return "", true
		}
		acct, ok := h.remapAccount(labels[len(labels)-1])
		if !ok {
			return r.URL.Path, true
		}
		path := "/v1/" + acct
		if len(labels) == 2 {
			path += "/" + labels[0]
		}
		rest := r.URL.Path
		if rest == "" {
			rest = "/"
		}
		return path + rest, true
	}
	return "", false
}

// remapAccount finds the reseller of a label: hosts have no underscores and no capitals.
func (h *Handler) remapAccount(label string) (string, bool) {
	label = strings.Replace(label, "-", "_", 1)
	for _, r := range h.cfg.Resellers {
		p := strings.ToLower(r.Prefix) + "_"
		if rest, ok := strings.CutPrefix(label, p); ok && rest != "" {
			return r.Prefix + "_" + rest, true
		}
	}
	return "", false
}
