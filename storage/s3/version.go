package s3

import (
	"net/http"

	"polder.dev/polder/storage"
)

// getVersioning implements GetBucketVersioning.
func (q *request) getVersioning() error {
	x := newXML().root("VersioningConfiguration")
	switch q.info.Settings.Versioning {
	case storage.Versioned:
		x.text("Status", "Enabled")
	case storage.Suspended:
		x.text("Status", "Suspended")
	}
	return q.reply(x.close("VersioningConfiguration"))
}

// putVersioning implements PutBucketVersioning.
func (q *request) putVersioning() error {
	var body struct{ Status, MfaDelete string }
	if err := q.decode(&body); err != nil {
		return err
	}
	if body.MfaDelete == "Enabled" {
		return fail("NotImplemented", "This server has no MFA delete.")
	}
	to := storage.Versioned
	switch body.Status {
	case "Enabled":
	case "Suspended":
		to = storage.Suspended
	default:
		return fail("IllegalVersioningConfigurationException", "Status must be Enabled or Suspended, not %q.", body.Status)
	}
	if err := q.guardVersioning(to); err != nil {
		return err
	}
	err := q.bucket.Configure(q.ctx, func(s *storage.Settings) error {
		s.Versioning = to
		return nil
	})
	if err != nil {
		return err
	}
	return q.status(http.StatusOK)
}

// listVersions implements ListObjectVersions.
func (q *request) listVersions() error {
	l, err := q.newListing()
	if err != nil {
		return err
	}
	l.After, l.AfterID = q.query.Get("key-marker"), q.query.Get("version-id-marker")
	if l.After == "" && l.AfterID != "" {
		return fail("InvalidArgument", "A version-id marker cannot be specified without a key marker.")
	}
	if l.limit > 0 {
		if l.Listing, err = q.bucket.Versions(q.ctx, l.ListOptions); err != nil {
			return err
		}
	}
	x := newXML().root("ListVersionsResult")
	l.head(x, q, func() {
		x.text("KeyMarker", l.encode.text(l.After)).text("VersionIdMarker", l.AfterID)
		if l.More {
			x.text("NextKeyMarker", l.encode.text(l.Next)).some("NextVersionIdMarker", l.NextID)
		}
	})
	for i := range l.Objects {
		o := &l.Objects[i]
		if o.Deleted {
			x.open("DeleteMarker").text("Key", l.encode.text(o.Key)).text("VersionId", o.Version)
			x.flag("IsLatest", o.Latest).time("LastModified", o.Modified)
			l.owners.write(x, o)
			x.close("DeleteMarker")
			continue
		}
		x.open("Version").text("Key", l.encode.text(o.Key)).text("VersionId", o.Version).flag("IsLatest", o.Latest)
		l.facts(x, o, true)
		x.close("Version")
	}
	writePrefixes(x, l.encode, l.Prefixes)
	return q.reply(x.close("ListVersionsResult"))
}
