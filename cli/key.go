package cli

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
)

func (o *options) key() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Make keys with which programs ask models through the gateway"}
	cmd.AddCommand(o.keyCreate(), o.keyList(), o.keyRemove())
	return cmd
}

// newKey is a key nobody guesses: 240 bits, without characters that shells or headers mind.
func newKey() string {
	b := make([]byte, 30)
	_, _ = rand.Read(b) // never fails
	return "pk-" + base64.RawURLEncoding.EncodeToString(b)
}

// madeKey is what `polder key create -o json` prints.
type madeKey struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Key       string `json:"key,omitempty"`
	File      string `json:"file,omitempty"`
	Expires   string `json:"expires,omitempty"`
	Gateway   string `json:"gateway,omitempty"`
}

func (o *options) keyCreate() *cobra.Command {
	var file string
	var life time.Duration
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a key for the models of a namespace", Args: exactly("NAME"),
		Long: `Make a key for the models of a namespace: whoever sends it to the gateway
(Authorization: Bearer KEY) may ask the services and routes of the namespace, and
nothing else. It is printed once, or written to a file that only you can read; the
cloud keeps it in the Secret NAME, which pods of the namespace can be given.`,
		Example: `  polder key create phone-app --file phone-app.key
  export OPENAI_API_KEY=$(polder key create notebook --expires 24h)`,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if life < 0 || life != 0 && life < time.Minute {
			return usage.Errorf("--expires %s: give at least 1m, or leave it out for a key that does not expire", life)
		}
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		s := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: args[0]}, Type: v1alpha1.SecretAPIKey,
			Data: map[string][]byte{v1alpha1.APIKey: []byte(newKey())},
		}
		if life > 0 {
			s.Data[v1alpha1.APIKeyExpires] = []byte(time.Now().Add(life).UTC().Format(time.RFC3339))
		}
		return o.makeKey(cmd, c, s, file)
	}
	cmd.Flags().StringVar(&file, "file", "", "write the key to this new file, mode 0600, instead of printing it")
	cmd.Flags().DurationVar(&life, "expires", 0, "how long the key is good for, such as 720h (default: until it is removed)")
	return o.flags(cmd, "json")
}

// makeKey writes the key to the cloud and tells it. The file comes first: a key that nobody
// has been told is of no use.
func (o *options) makeKey(cmd *cobra.Command, c *kube.Client, s *corev1.Secret, file string) error {
	key := s.Data[v1alpha1.APIKey]
	if file != "" {
		if err := writeSecret(file, append(key, '\n')); err != nil {
			return err
		}
	}
	err := c.Create(cmd.Context(), s)
	if err != nil && file != "" {
		err = errors.Join(err, os.Remove(file))
	}
	switch {
	case apierrors.IsAlreadyExists(err):
		return usage.Errorf("there is a Secret %s in namespace %s; choose another name, or remove it with `polder key rm`", s.Name, s.Namespace)
	case apierrors.IsInvalid(err):
		return usage.Errorf("NAME: %w", err)
	case err != nil:
		return fmt.Errorf("making key %s: %w", s.Name, err)
	}
	gateway, err := c.Gateway(cmd.Context())
	if err != nil {
		return err
	}
	made := madeKey{Name: s.Name, Namespace: s.Namespace, Key: string(key), File: file, Expires: string(s.Data[v1alpha1.APIKeyExpires]), Gateway: gateway}
	if file != "" {
		made.Key = ""
	}
	if o.json() {
		return printJSON(cmd.OutOrStdout(), made)
	}
	if file == "" { // alone on standard output, so that a variable can be set to it
		fmt.Fprintln(cmd.OutOrStdout(), made.Key)
	}
	until := "until it is removed"
	if made.Expires != "" {
		until = "until " + made.Expires
	}
	where := "shown once"
	if file != "" {
		where = "in " + file
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Key %s, %s, lets in to %s/%s %s.\n", s.Name, where, gateway, s.Namespace, until)
	return nil
}

// writeSecret writes a file that only its owner can read, and that was not there.
func writeSecret(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return usage.Errorf("--file %s: it is there already; name a new file", path)
	}
	if err != nil {
		return usage.Errorf("--file: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("writing the key: %w", err), os.Remove(path))
	}
	return nil
}

// keyRow is what is told of a key: not the key.
type keyRow struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Expires string    `json:"expires,omitempty"`
	Expired bool      `json:"expired"`
}

func (o *options) keyList() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: "List the keys of a namespace, by name", Args: cobra.NoArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		keys, err := keysOf(cmd, c)
		if err != nil {
			return err
		}
		now := time.Now()
		out := []keyRow{}
		for i := range keys {
			k := keyRow{Name: keys[i].Name, Created: keys[i].CreationTimestamp.Time, Expires: string(keys[i].Data[v1alpha1.APIKeyExpires])}
			if t, err := time.Parse(time.RFC3339, k.Expires); err == nil {
				k.Expired = !now.Before(t)
			}
			out = append(out, k)
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), out)
		}
		if len(out) == 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "There are no keys in namespace %s; `polder key create` makes one.\n", c.Namespace)
			return nil
		}
		rows := [][]string{{"KEY", "AGE", "EXPIRES"}}
		for _, k := range out {
			expires := dash(k.Expires)
			if k.Expired {
				expires += " (expired)"
			}
			rows = append(rows, []string{k.Name, term.Age(k.Created, now), expires})
		}
		return term.Table(cmd.OutOrStdout(), rows)
	}
	return o.flags(cmd, "json")
}

// keysOf lists the keys of the namespace. Other Secrets are not read out of it.
func keysOf(cmd *cobra.Command, c *kube.Client) ([]corev1.Secret, error) {
	var list corev1.SecretList
	if err := c.List(cmd.Context(), &list, kube.InNamespace(c.Namespace), kube.Selected("type", v1alpha1.SecretAPIKey)); err != nil {
		return nil, fmt.Errorf("listing keys: %w", err)
	}
	return list.Items, nil
}

func (o *options) keyRemove() *cobra.Command {
	cmd := &cobra.Command{Use: "rm NAME", Short: "Remove a key: it lets nobody in any more", Args: exactly("NAME"), ValidArgsFunction: o.completeKeys}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		var s corev1.Secret
		err = c.Get(cmd.Context(), kube.Key(c.Namespace, args[0]), &s)
		if apierrors.IsNotFound(err) || err == nil && s.Type != v1alpha1.SecretAPIKey {
			return usage.Errorf("there is no key %s in namespace %s; `polder key ls` lists all", args[0], c.Namespace)
		}
		if err != nil {
			return fmt.Errorf("reading key %s: %w", args[0], err)
		}
		if err := c.Delete(cmd.Context(), &s); err != nil {
			return fmt.Errorf("removing key %s: %w", s.Name, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Key %s lets nobody in any more.\n", s.Name)
		return nil
	}
	return o.flags(cmd)
}

func (o *options) completeKeys(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := o.open(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	keys, err := keysOf(cmd, c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for i := range keys {
		names = append(names, keys[i].Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
