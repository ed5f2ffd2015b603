package dra

import (
	"bytes"
	_ "embed" // the manifest beside this file
	"fmt"
	"path"
	"regexp"
	"text/template"
)

// Pods says where things are on the nodes of a cluster whose driver runs in pods.
type Pods struct {
	// Image has this program as /polder.
	Image string
	// Kubelet is the kubelet's directory, CDI one that the container runtime reads, and
	// State one that only the driver uses, which a reboot empties.
	Kubelet, CDI, State string
}

//go:embed daemonset.yaml
var daemonset string

var (
	imageForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9./:@_-]{0,254}$`)
	dirForm   = regexp.MustCompile(`^/[a-zA-Z0-9._/-]{1,254}$`)
)

// Manifest is all that the driver needs in a cluster, as YAML: its account and what
// that may do, and a DaemonSet.
func Manifest(p Pods) ([]byte, error) {
	if !imageForm.MatchString(p.Image) {
		return nil, fmt.Errorf("image %q is no reference to an image; write one like registry.example.com/polder:1.0", p.Image)
	}
	for _, d := range []struct{ name, dir string }{{"kubelet", p.Kubelet}, {"CDI", p.CDI}, {"state", p.State}} {
		if !dirForm.MatchString(d.dir) || path.Clean(d.dir) != d.dir {
			return nil, fmt.Errorf("the %s directory %q is no absolute path; write one like /var/lib/kubelet", d.name, d.dir)
		}
	}
	t, err := template.New("daemonset").Parse(daemonset)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	role, _, _ := bytes.Cut(RBAC, []byte("\n---\n")) // whom it is bound to is another here
	b := bytes.NewBuffer(bytes.Clone(role))
	b.WriteString("\n---\n")
	if err := t.Execute(b, p); err != nil {
		return nil, fmt.Errorf("writing the manifest: %w", err)
	}
	return b.Bytes(), nil
}
