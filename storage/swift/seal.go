package swift

import (
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"strings"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
	"polder.dev/polder/storage/lock"
	"polder.dev/polder/storage/seal"
)

// What S3's door keeps of a bucket holds for objects that come through this one: default
// encryption, retention, owner.

// labelEncryption is the bucket's encryption configuration, in S3's XML.
const labelEncryption = "s3.encryption"

// system keeps of another object's Meta.System what this door understands.
func system(old map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range old {
		if strings.HasPrefix(k, "swift.") {
			out[k] = v
		}
	}
	return out
}

// anew is the metadata of a copy: the original's, but for what belongs to its data.
func anew(old storage.Meta) storage.Meta {
	out := old
	out.Headers, out.User, out.Tags = maps.Clone(old.Headers), maps.Clone(old.User), maps.Clone(old.Tags)
	out.System = system(old.System)
	return out
}

// sealNew fills in what an object bears that is put into a container.
func (c *call) sealNew(b *box, m *storage.Meta) error {
	if m.System == nil {
		m.System = map[string]string{}
	}
	m.System[iam.ObjectOwner] = b.rules.Owner
	conf, err := lock.ParseConfig(b.info.Settings)
	if err != nil {
		return err
	}
	conf.State(c.h.cfg.Now()).Put(m)
	return c.encrypt(b, m)
}

// encrypt puts a sealed data key on an object of a bucket that asks for it.
func (c *call) encrypt(b *box, m *storage.Meta) error {
	seal.Clear(m)
	text := b.label(labelEncryption)
	if text == "" {
		return nil
	}
	var f struct {
		Rule []struct {
			Default struct {
				SSEAlgorithm   string
				KMSMasterKeyID string
			} `xml:"ApplyServerSideEncryptionByDefault"`
		}
	}
	if err := xml.Unmarshal([]byte(text), &f); err != nil {
		return fmt.Errorf("reading the encryption of container %s: %w", b.name, err)
	}
	if len(f.Rule) == 0 || f.Rule[0].Default.SSEAlgorithm == "" {
		return nil
	}
	if c.h.cfg.Keys == nil {
		return plainf(501, "The container asks for encryption, and the server has no keys.")
	}
	kind, id := seal.Server, f.Rule[0].Default.KMSMasterKeyID
	if f.Rule[0].Default.SSEAlgorithm == "aws:kms" {
		kind = seal.Named
	}
	var err error
	if id == "" {
		if id, err = c.h.cfg.Keys.Current(b.info.Settings); err != nil {
			return err
		}
	}
	key, err := c.h.cfg.Keys.Key(c.ctx, id)
	if err != nil {
		return err
	}
	return seal.Lock(m, kind, id, key)
}

// sealed explains why an object cannot be opened.
func sealed(err error) error {
	if errors.Is(err, seal.ErrNeeded) || errors.Is(err, seal.ErrKey) || errors.Is(err, seal.ErrNoKey) {
		f := plainf(403, "The object is encrypted with a key that only its client, or S3's door, can give.")
		f.cause = err
		return f
	}
	return err
}
