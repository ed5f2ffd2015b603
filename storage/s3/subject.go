package s3

import (
	"errors"
	"net/http"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/iam"
)

// subject finds the version that a request about an aspect of an object means, once it
// is allowed. verb and aspect make the action: "s3:GetObject" and "Acl". For a version
// that is named S3 has another action, but for locks.
func (q *request) subject(verb, aspect string) (*storage.Info, error) {
	version := q.query.Get("versionId")
	action := iam.Action(verb + aspect)
	if version != "" && aspect != "Retention" && aspect != "LegalHold" {
		action = iam.Action(verb + "Version" + aspect)
	}
	info, err := q.bucket.Stat(q.ctx, q.key, storage.ReadOptions{Version: version})
	if err != nil {
		// Whether a key exists only they are told who may list, or would be let in.
		if errors.Is(err, storage.ErrNoObject) || errors.Is(err, storage.ErrNoVersion) {
			if denied := q.authorise(action); denied != nil && q.authoriseOn(iam.ListBucket, "", nil) != nil {
				return nil, denied
			}
		}
		return nil, err
	}
	if err := q.authoriseOn(action, q.key, &info); err != nil {
		return nil, err
	}
	return &info, nil
}

// edit changes metadata of the version that subject found, unless it is another by now,
// and answers.
func (q *request) edit(there *storage.Info, change func(*storage.Meta) error) error {
	if err := q.change(there, change); err != nil {
		return err
	}
	return q.status(http.StatusOK)
}

// change is edit without an answer.
func (q *request) change(there *storage.Info, change func(*storage.Meta) error) error {
	version := q.query.Get("versionId")
	if version == "" && q.info.Settings.Versioning != storage.Unversioned {
		version = there.Version
	}
	_, err := q.bucket.Edit(q.ctx, q.key, storage.EditOptions{Version: version, Change: func(m *storage.Meta) error {
		if m.System == nil {
			m.System = map[string]string{}
		}
		return change(m)
	}})
	if err != nil {
		return err
	}
	q.tellVersion(there)
	return nil
}

// tellVersion names a version in the answer, where the bucket has versions.
func (q *request) tellVersion(there *storage.Info) {
	if q.info.Settings.Versioning != storage.Unversioned {
		q.set("X-Amz-Version-Id", there.Version)
	}
}
