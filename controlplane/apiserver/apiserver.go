// Package apiserver runs kube-apiserver, the door that everything else goes
// through. Only system imports it. Nobody is anonymous, every client shows a
// certificate or a service account's token, secrets lie encrypted, and every
// change is in the audit log.
package apiserver

import (
	"context"
	"crypto/rand"
	_ "embed" // the policies beside this file
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	genericapiserver "k8s.io/apiserver/pkg/server"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/cli"
	logs "k8s.io/component-base/logs/api/v1"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/system/layout"
)

//go:embed admission.yaml
var admissionRules []byte

//go:embed audit.yaml
var audit []byte

// Main becomes kube-apiserver for the cloud c, until SIGTERM.
func Main(c layout.Cloud) int { return cli.Run(command(flags(c))) }

// command is kube-apiserver with our policies, as args say.
func command(args []string) *cobra.Command {
	o := options.NewServerRunOptions()
	settling(o.Admission.GenericAdmission)
	cmd := &cobra.Command{
		Use: "kube-apiserver", SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			rest.SetDefaultWarningHandler(rest.NoWarnings{}) // of what it asks itself
			return o.GenericServerRunOptions.ComponentGlobalsRegistry.Set()
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), o) },
	}
	for _, set := range o.Flags().FlagSets {
		cmd.Flags().AddFlagSet(set)
	}
	cmd.SetContext(genericapiserver.SetupSignalContext())
	cmd.SetArgs(args)
	return cmd
}

// run serves as o says until ctx ends.
func run(ctx context.Context, o *options.ServerRunOptions) error {
	if err := logs.ValidateAndApply(o.Logs, utilfeature.DefaultFeatureGate); err != nil {
		return err
	}
	whole, err := o.Complete(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(whole.Validate()...); err != nil {
		return err
	}
	return app.Run(ctx, whole)
}

// Files writes what the flags point to.
func Files(c layout.Cloud) error {
	if err := pki.WriteFile(c.Path("etc", "admission.yaml"), admissionRules); err != nil {
		return err
	}
	if err := pki.WriteFile(c.Path("etc", "audit.yaml"), audit); err != nil {
		return err
	}
	return encryption(c.Path("etc", "encryption.yaml"))
}

// encryption makes the key that secrets are encrypted with at rest, once: with
// another key, the old secrets could not be read.
func encryption(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("making encryption key: %w", err)
	}
	return pki.WriteFile(path, fmt.Appendf(nil, `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - secretbox: {keys: [{name: first, secret: %s}]}
  - identity: {}
`, base64.StdEncoding.EncodeToString(key)))
}

// Issuer of the tokens of service accounts, and the audience of those that name no other.
const Issuer = "https://kubernetes.default.svc.cluster.local"

func flags(c layout.Cloud) []string {
	node := c.NodeIP().String()
	all := map[string]string{
		"advertise-address":                  node,
		"bind-address":                       node,
		"secure-port":                        fmt.Sprint(layout.PortAPI),
		"etcd-servers":                       "https://" + c.At(layout.PortEtcd),
		"etcd-cafile":                        c.Path("pki", "etcd", "ca.crt"),
		"etcd-certfile":                      c.Path("pki", "etcd", "apiserver.crt"),
		"etcd-keyfile":                       c.Path("pki", "etcd", "apiserver.key"),
		"tls-cert-file":                      c.Cert("apiserver"),
		"tls-private-key-file":               c.Key("apiserver"),
		"client-ca-file":                     c.Cert("ca"),
		"anonymous-auth":                     "false",
		"authorization-mode":                 "Node,RBAC",
		"enable-admission-plugins":           "NodeRestriction," + pluginName,
		"disable-admission-plugins":          validating.PluginName, // ours is it, and more
		"allow-privileged":                   "true",                // drivers of devices need it; admission keeps it from tenants
		"admission-control-config-file":      c.Path("etc", "admission.yaml"),
		"encryption-provider-config":         c.Path("etc", "encryption.yaml"),
		"audit-policy-file":                  c.Path("etc", "audit.yaml"),
		"audit-log-path":                     c.Path("logs", "audit.log"),
		"audit-log-maxsize":                  "50",
		"audit-log-maxbackup":                "5",
		"service-cluster-ip-range":           c.ServiceCIDR().String(),
		"service-account-issuer":             Issuer,
		"service-account-key-file":           c.Path("pki", "serviceaccount.key"),
		"service-account-signing-key-file":   c.Path("pki", "serviceaccount.key"),
		"kubelet-certificate-authority":      c.Cert("ca"),
		"kubelet-client-certificate":         c.Cert("kubelet-client"),
		"kubelet-client-key":                 c.Key("kubelet-client"),
		"kubelet-preferred-address-types":    "InternalIP",
		"proxy-client-cert-file":             c.Path("pki", "front-proxy", "client.crt"),
		"proxy-client-key-file":              c.Path("pki", "front-proxy", "client.key"),
		"requestheader-client-ca-file":       c.Path("pki", "front-proxy", "ca.crt"),
		"requestheader-allowed-names":        "front-proxy-client",
		"requestheader-extra-headers-prefix": "X-Remote-Extra-",
		"requestheader-group-headers":        "X-Remote-Group",
		"requestheader-username-headers":     "X-Remote-User",
		"enable-aggregator-routing":          "true",
		"endpoint-reconciler-type":           "lease",
		"profiling":                          "false",
		"tls-min-version":                    "VersionTLS12",
		// Gang scheduling of training workers, in one domain of the topology if they ask.
		"feature-gates":  "GenericWorkload=true,TopologyAwareWorkloadScheduling=true",
		"runtime-config": "scheduling.k8s.io/v1beta1=true",
	}
	out := make([]string, 0, len(all))
	for k, v := range all {
		out = append(out, "--"+strings.TrimSpace(k)+"="+v)
	}
	return out
}
