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
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	for _, d := range h.cfg.Domains {
		n := len(host) - len(d)
		if n <= 0 || !strings.EqualFold(host[n:], d) {
			continue
		}
		labels := strings.Split(host[:n], ".") // a container's name keeps its capitals
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
		n := len(r.Prefix) + 1
		if len(label) > n && strings.EqualFold(label[:n], r.Prefix+"_") {
			return r.Prefix + "_" + label[n:], true
		}
	}
	return "", false
}
