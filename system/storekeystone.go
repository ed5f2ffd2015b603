package system

import (
	"crypto/tls"
	"net/http"
	"time"

	"github.com/spf13/pflag"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/iam/keystone"
)

// keystoneFlags say where OpenStack's identities are.
type keystoneFlags struct {
	url, user, passwordFile, userDomain, project, projectDomain, ca string
}

func (k *keystoneFlags) bind(f *pflag.FlagSet) {
	f.StringVar(&k.url, "keystone-url", "", "URL of OpenStack's Keystone (https://HOST:5000/v3), whose tokens Swift clients may bring")
	f.StringVar(&k.user, "keystone-user", "", "user of the store at Keystone, who may validate tokens")
	f.StringVar(&k.passwordFile, "keystone-password-file", "", "file that holds the password of --keystone-user")
	f.StringVar(&k.userDomain, "keystone-user-domain", "Default", "domain of --keystone-user")
	f.StringVar(&k.project, "keystone-project", "service", "project of --keystone-user")
	f.StringVar(&k.projectDomain, "keystone-project-domain", "Default", "domain of --keystone-project")
	f.StringVar(&k.ca, "keystone-ca-file", "", "certificates to believe for --keystone-url (default: the system's)")
}

// join asks Keystone, if there is one, about whom the store's own users do not know.
func (k *keystoneFlags) join(users iam.Directory) (iam.Directory, error) {
	if k.url == "" {
		return users, nil
	}
	if k.user == "" || k.passwordFile == "" {
		return nil, usage.Errorf("--keystone-url: give --keystone-user and --keystone-password-file with it")
	}
	password, err := pki.ReadSecret(k.passwordFile)
	if err != nil {
		return nil, usage.Errorf("--keystone-password-file: %w", err)
	}
	client := &http.Client{Timeout: 10 * time.Second}
	if k.ca != "" {
		pool, err := pki.Pool(k.ca)
		if err != nil {
			return nil, usage.Errorf("--keystone-ca-file: %w", err)
		}
		client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, IdleConnTimeout: time.Minute}
	}
	d, err := keystone.New(keystone.Config{
		URL: k.url, User: k.user, Password: password, UserDomain: k.userDomain,
		Project: k.project, ProjectDomain: k.projectDomain, Client: client,
	})
	if err != nil {
		return nil, usage.Errorf("--keystone-url: %w", err)
	}
	return iam.Chain{users, d}, nil
}
