package door

import (
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
)

// ask is what a path says.
type ask struct {
	namespace string
	protocol  v1alpha1.Protocol
	name      string // "" if the path has none
	path      string // that a replica sees
	raw       string
}

// parse takes a path apart. The protocol is set as soon as it is known, also with an error.
func parse(u *url.URL) (ask, error) {
	var a ask
	namespace, rest, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	kind, rest, more := strings.Cut(rest, "/")
	if len(validation.IsDNS1123Label(namespace)) > 0 {
		return a, notFound("the path must begin with a namespace: /NAMESPACE/v2/..., /NAMESPACE/v1/... or /NAMESPACE/http/NAME/...")
	}
	a.namespace = namespace
	switch kind {
	case "v2":
		a.protocol, a.path = v1alpha1.ProtocolV2, "/v2"
		if more {
			a.path += "/" + rest
		}
		if model, ok := strings.CutPrefix(rest, "models/"); ok {
			a.name, _, _ = strings.Cut(model, "/")
		}
	case "v1":
		a.protocol, a.path = v1alpha1.ProtocolOpenAI, "/v1/"+rest
		if model, ok := strings.CutPrefix(rest, "models/"); ok {
			a.name = model
		}
	case "http":
		a.protocol = v1alpha1.ProtocolHTTP
		a.name, rest, _ = strings.Cut(rest, "/")
		a.path = "/" + rest
		if a.name == "" {
			return a, notFound("the path names no service: /" + namespace + "/http/NAME/...")
		}
		if raw, ok := strings.CutPrefix(u.RawPath, "/"+namespace+"/http/"+a.name+"/"); ok {
			a.raw = "/" + raw
		}
	default:
		return a, notFound("after the namespace the path must go on with v2, v1 or http/NAME")
	}
	if a.name != "" && len(validation.IsDNS1123Label(a.name)) > 0 {
		return a, notFound("the path names no service or route: names have lower-case letters, digits and hyphens")
	}
	return a, nil
}

func notFound(sentence string) error {
	return gateway.Faultf(http.StatusNotFound, "not_found", "%s", sentence)
}
