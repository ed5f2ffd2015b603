package door

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/gateway"
)

// own answers what the gateway knows itself: what there is, and whether it is ready. done
// is false for everything else.
func (d *Door) own(v *visit) (done bool, err error) {
	read := v.r.Method == http.MethodGet || v.r.Method == http.MethodHead
	switch {
	case v.protocol == v1alpha1.ProtocolV2 && v.name == "":
		return true, d.aboutServer(v, read)
	case v.protocol == v1alpha1.ProtocolV2 && read && v.path == "/v2/models/"+v.name+"/ready":
		return d.modelReady(v)
	case v.protocol == v1alpha1.ProtocolOpenAI && read && v.path == "/v1/models":
		return true, d.models(v)
	case v.protocol == v1alpha1.ProtocolOpenAI && read && v.path == "/v1/models/"+v.name && v.name != "":
		return true, d.model(v)
	}
	return false, nil
}

// aboutServer answers the Open Inference Protocol's questions about the server.
func (d *Door) aboutServer(v *visit, read bool) error {
	switch {
	case !read:
	case v.path == "/v2" || v.path == "/v2/":
		return answer(v, map[string]any{"name": "polder", "version": d.cfg.Version, "extensions": []string{}})
	case v.path == "/v2/health/live":
		return answer(v, map[string]any{"live": true})
	case v.path == "/v2/health/ready":
		return answer(v, map[string]any{"ready": d.cfg.Ready() == nil})
	}
	return notFound("there is no " + v.path + "; models are below /" + v.namespace + "/v2/models/NAME")
}

// modelReady answers for a service without waking it. A route's readiness is for the route
// to say.
func (d *Door) modelReady(v *visit) (done bool, err error) {
	key := types.NamespacedName{Namespace: v.namespace, Name: v.name}
	if d.cfg.Routes.Has(key) {
		return false, nil
	}
	if err := v.who.May(v.r.Context(), v.namespace, false, v.name); err != nil {
		return true, err
	}
	info, ok := d.cfg.Services.Info(key)
	switch {
	case !ok:
		return true, notFound("there is no service or route " + v.name + " in namespace " + v.namespace)
	case info.Protocol != v.protocol:
		return true, wrongProtocol(v, info.Protocol)
	case !info.Ready:
		v.service = v.name
		return true, gateway.Faultf(http.StatusServiceUnavailable, "not_ready", "service %s has no replica that is ready", v.name)
	}
	v.service = v.name
	return true, answer(v, map[string]any{"name": v.name, "ready": true})
}

// entry is a model in OpenAI's list.
type entry struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// models lists what may be named as model.
func (d *Door) models(v *visit) error {
	if err := v.who.May(v.r.Context(), v.namespace, false, ""); err != nil {
		return err
	}
	list := []entry{}
	for _, n := range d.cfg.Routes.Names(v.namespace, v1alpha1.ProtocolOpenAI) {
		list = append(list, entry{ID: n, Object: "model", OwnedBy: v.namespace})
	}
	for _, i := range d.cfg.Services.Infos(v.namespace) {
		if i.Protocol == v1alpha1.ProtocolOpenAI && !d.cfg.Routes.Has(types.NamespacedName{Namespace: v.namespace, Name: i.Name}) {
			list = append(list, entry{ID: i.Name, Object: "model", Created: i.Created.Unix(), OwnedBy: v.namespace})
		}
	}
	return answer(v, map[string]any{"object": "list", "data": list})
}

// model answers for one.
func (d *Door) model(v *visit) error {
	key := types.NamespacedName{Namespace: v.namespace, Name: v.name}
	route := d.cfg.Routes.Has(key)
	if err := v.who.May(v.r.Context(), v.namespace, route, v.name); err != nil {
		return err
	}
	e := entry{ID: v.name, Object: "model", OwnedBy: v.namespace}
	if route && !slices.Contains(d.cfg.Routes.Names(v.namespace, v1alpha1.ProtocolOpenAI), v.name) {
		return notFound("route " + v.name + " leads to no service of protocol openai; `polder route show " + v.name + "` tells where it leads")
	}
	if !route {
		i, ok := d.cfg.Services.Info(key)
		if !ok || i.Protocol != v1alpha1.ProtocolOpenAI {
			return notFound("there is no model " + v.name + " in namespace " + v.namespace)
		}
		e.Created = i.Created.Unix()
	}
	return answer(v, e)
}

// answer sends JSON.
func answer(v *visit, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "application/json")
	_, _ = v.w.Write(append(b, '\n')) // a client that has gone needs no answer
	return nil
}

// named reads which model a request of OpenAI's API names in its body.
func named(v *visit, body []byte) (string, error) {
	wrong := func(sentence string) (string, error) {
		return "", gateway.Faultf(http.StatusBadRequest, "invalid_request", "%s", sentence)
	}
	if v.r.Method != http.MethodPost {
		return "", notFound("there is no " + v.path + " for the method " + v.r.Method + "; requests name a service or route as model, in the body of a POST")
	}
	var name string
	var err error
	kind, params, _ := mime.ParseMediaType(v.r.Header.Get("Content-Type")) // what has none is taken for JSON
	if kind == "multipart/form-data" {
		name, err = modelOfForm(body, params["boundary"])
	} else {
		name, err = gateway.Model(body)
	}
	if err != nil {
		return wrong("the request cannot be read: " + err.Error())
	}
	if name == "" {
		return wrong("the body must name a service or route of the namespace as model")
	}
	if len(validation.IsDNS1123Label(name)) > 0 {
		return "", notFound("there is no service or route of the name that the body gives as model, in namespace " + v.namespace)
	}
	return name, nil
}

// modelOfForm reads the field model of a form.
func modelOfForm(body []byte, boundary string) (string, error) {
	m := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		p, err := m.NextRawPart()
		if err == io.EOF { //nolint:errorlint // readers return it bare
			return "", nil
		}
		if err != nil {
			return "", err
		}
		if p.FormName() != "model" {
			continue
		}
		const enough = 256
		b, err := io.ReadAll(io.LimitReader(p, enough))
		return strings.TrimSpace(string(b)), err
	}
}
