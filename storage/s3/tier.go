package s3

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"polder.dev/polder/storage"
)

// tiersDocument is a bucket's policy of tiers, which S3 has no word for, as the query
// x-polder-tiers shows and takes it.
type tiersDocument struct {
	// Lower names the tier that data goes to.
	Lower string `json:"lower,omitempty"`
	// Write is home, back or through.
	Write              string   `json:"write,omitempty"`
	DemoteAfterSeconds int64    `json:"demoteAfterSeconds,omitempty"`
	DemoteBytesMin     int64    `json:"demoteBytesMin,omitempty"`
	Pinned             []string `json:"pinned,omitempty"`
	NoMemory           bool     `json:"noMemory,omitempty"`
}

var writes = map[string]storage.Write{"": storage.WriteHome, "home": storage.WriteHome, "back": storage.WriteBack, "through": storage.WriteThrough}

// tiers shows the policy.
func (q *request) tiers() error {
	t := q.info.Settings.Tiers
	out := tiersDocument{
		Lower: t.Lower, DemoteAfterSeconds: int64(t.DemoteAfter / time.Second), DemoteBytesMin: t.DemoteBytesMin, Pinned: t.Pinned, NoMemory: t.NoHot,
		Write: map[storage.Write]string{storage.WriteHome: "home", storage.WriteBack: "back", storage.WriteThrough: "through"}[t.Write],
	}
	b, err := json.Marshal(out)
	if err != nil {
		return err
	}
	q.set("Content-Type", "application/json")
	if err := q.status(http.StatusOK); err != nil {
		return err
	}
	_, err = q.w.Write(append(b, '\n'))
	return err
}

// putTiers changes it.
func (q *request) putTiers() error {
	b, err := q.readAll(xmlBytesMax)
	if err != nil {
		return err
	}
	var in tiersDocument
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return fail("InvalidArgument", "The body must be a policy of tiers in JSON: %s.", err.Error())
	}
	write, ok := writes[in.Write]
	switch {
	case !ok:
		return fail("InvalidArgument", "write: %q is not known; write home, back or through.", in.Write)
	case in.DemoteAfterSeconds < 0 || in.DemoteBytesMin < 0:
		return fail("InvalidArgument", "demoteAfterSeconds, demoteBytesMin: neither may be below 0.")
	}
	return q.setTiers(storage.Tiers{
		Lower: in.Lower, Write: write, DemoteAfter: time.Duration(in.DemoteAfterSeconds) * time.Second, DemoteBytesMin: in.DemoteBytesMin,
		Pinned: in.Pinned, NoHot: in.NoMemory,
	})
}

// deleteTiers leaves it to the store.
func (q *request) deleteTiers() error { return q.setTiers(storage.Tiers{}) }

func (q *request) setTiers(t storage.Tiers) error {
	err := q.bucket.Configure(q.ctx, func(s *storage.Settings) error {
		s.Tiers = t
		return nil
	})
	if err != nil {
		return err
	}
	return q.status(http.StatusNoContent)
}
