package s3

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"net/http"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/seal"
)

// The headers of server-side encryption, without their common beginning.
const (
	sseHead      = "X-Amz-Server-Side-Encryption"
	sseKMS       = sseHead + "-Aws-Kms-Key-Id"
	sseCustomer  = sseHead + "-Customer-"
	sourceSecret = "X-Amz-Copy-Source-Server-Side-Encryption-Customer-"
)

const (
	aes256 = "AES256"
	awsKMS = "aws:kms"
)

// customer reads the key that a client sends along, by headers that begin with prefix.
// It returns nil where there is none.
func (q *request) customer(prefix string) ([]byte, error) {
	algorithm, text, sum := q.header(prefix+"Algorithm"), q.header(prefix+"Key"), q.header(prefix+"Key-Md5")
	if algorithm+text+sum == "" {
		return nil, nil
	}
	bad := func(why string) ([]byte, error) {
		return nil, fail("InvalidArgument", "Requests specifying Server Side Encryption with Customer provided keys must provide %s.", why)
	}
	if algorithm == "" {
		return bad("a valid encryption algorithm")
	}
	if algorithm != aes256 {
		return nil, fail("InvalidEncryptionAlgorithmError", "The encryption request you specified is not valid. The valid value is AES256.")
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != seal.KeyBytes {
		return bad("an appropriate secret key: 32 bytes in base64")
	}
	want := md5.Sum(key)
	got, err := base64.StdEncoding.DecodeString(sum)
	if err != nil || subtle.ConstantTimeCompare(got, want[:]) != 1 {
		return bad("the MD5 of that key in base64")
	}
	return key, nil
}

// sealData puts a sealed data key on what a request creates: by its headers, or by the
// bucket's default.
func (q *request) sealData(m *storage.Meta) (err error) {
	seal.Clear(m)
	kind, id := q.header(sseHead), q.header(sseKMS)
	if q.vault.Customer, err = q.customer(sseCustomer); err != nil {
		return err
	}
	switch {
	case q.vault.Customer != nil && kind+id != "":
		return fail("InvalidArgument", "Server Side Encryption with Customer provided key is incompatible with the encryption method specified.")
	case q.vault.Customer != nil:
		return seal.Lock(m, seal.Customer, "", q.vault.Customer)
	case id != "" && kind != awsKMS:
		return fail("InvalidArgument", "The header %s goes with %s of aws:kms only.", sseKMS, sseHead)
	case kind == "":
		if kind, id, err = q.sealDefault(); kind == "" || err != nil {
			return err
		}
	}
	if kind != aes256 && kind != awsKMS {
		return fail("InvalidArgument", "The encryption method specified is not supported: AES256 and aws:kms are, and not %q.", kind)
	}
	return q.sealByServer(m, kind, id)
}

func (q *request) sealByServer(m *storage.Meta, kind, id string) error {
	keys := q.s.keyring
	if keys == nil {
		return noKeys()
	}
	how := seal.Server
	var err error
	if kind == awsKMS {
		how = seal.Named
	}
	if id == "" {
		if id, err = keys.Current(q.info.Settings); err != nil {
			return err
		}
	}
	key, err := keys.Key(q.ctx, id)
	if err != nil {
		return err
	}
	return seal.Lock(m, how, id, key)
}

func noKeys() error {
	return fail("NotImplemented", "This server has no keys to encrypt with; send your own, or leave x-amz-server-side-encryption out.")
}

// sealDefault is what the bucket's encryption configuration says.
func (q *request) sealDefault() (kind, id string, err error) {
	text := q.label(labelEncryption)
	if text == "" {
		return "", "", nil
	}
	var f encryptionXML
	if err := xml.Unmarshal([]byte(text), &f); err != nil {
		return "", "", err
	}
	for _, r := range f.Rule {
		if r.Default != nil {
			return r.Default.SSEAlgorithm, r.Default.KMSMasterKeyID, nil
		}
	}
	return "", "", nil
}

// unlock refuses to show a sealed object to who does not have its key. q.vault.Open does
// so for its data.
func (q *request) unlock(m *storage.Meta) error {
	if q.header(sseHead) != "" {
		return fail("InvalidArgument", "x-amz-server-side-encryption header is not supported for this operation.")
	}
	return q.vault.Check(q.ctx, m)
}

// unlockUpload finds the key for parts of an upload. For a part, the headers must be
// those that the upload began with.
func (q *request) unlockUpload(u *storage.Upload) error { return q.vault.Use(q.ctx, u) }

// sourceBucket opens what is copied from a bucket with the key for the source.
func (q *request) sourceBucket(b storage.Bucket) (storage.Bucket, error) {
	key, err := q.customer(sourceSecret)
	if err != nil {
		return nil, err
	}
	return seal.Over(b, seal.Opener{Keys: q.s.keyring, Customer: key}), nil
}

// describeSeal tells how an object is encrypted.
func (q *request) describeSeal(h http.Header, m *storage.Meta) {
	switch kind, id := seal.Sealed(m); kind {
	case seal.Customer:
		if sum := q.header(sseCustomer + "Key-Md5"); sum != "" {
			h[sseCustomer+"Algorithm"] = []string{aes256}
			h[sseCustomer+"Key-Md5"] = []string{sum}
		}
	case seal.Server:
		h[sseHead] = []string{aes256}
	case seal.Named:
		h[sseHead] = []string{awsKMS}
		h[sseKMS] = []string{id}
	}
}

// sealError maps the failures of keys.
func sealError(err error) *Error {
	switch {
	case errors.Is(err, seal.ErrNeeded):
		return fail("InvalidRequest", "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.")
	case errors.Is(err, seal.ErrNeedless):
		return fail("InvalidRequest", "The encryption parameters are not applicable to this object.")
	case errors.Is(err, seal.ErrKey):
		return fail("InvalidRequest", "The provided encryption parameters did not match the ones used originally.")
	case errors.Is(err, seal.ErrNoKey):
		return fail("KMS.NotFoundException", "The key does not exist.")
	}
	return nil
}
