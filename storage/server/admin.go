package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/disk"
)

// Socket is where the administrator's requests of a data directory are answered.
func Socket(dir string) string { return filepath.Join(dir, "store.sock") }

// balance is a run of disk.Balance.
type balance struct {
	progress atomic.Pointer[disk.Progress]
	err      atomic.Pointer[error]
	over     atomic.Bool
}

// Disk is a disk as the socket tells of it.
type Disk struct {
	ID       string  `json:"id"`
	Dir      string  `json:"dir,omitempty"`
	Weight   float64 `json:"weight"`
	Draining bool    `json:"draining,omitempty"`
	Error    string  `json:"error,omitempty"`
	Total    int64   `json:"totalBytes"`
	Free     int64   `json:"freeBytes"`
}

// Disks is the answer to GET /disks.
type Disks struct {
	Disks []Disk `json:"disks"`
	// Settled says that every object lies where it belongs. Without it, the entries of disk
	// On are gone through: Seen of them so far, of which Moved had to be moved and Failed
	// could not be; Error says why.
	Settled bool   `json:"settled"`
	On      string `json:"on,omitempty"`
	Seen    int64  `json:"seen,omitempty"`
	Moved   int64  `json:"moved,omitempty"`
	Failed  int64  `json:"failed,omitempty"`
	Error   string `json:"error,omitempty"`
}

// Admin answers the administrator: who can open the socket may do everything.
func (s *Server) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /disks", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.list()) })
	mux.HandleFunc("POST /disks", s.add)
	mux.HandleFunc("POST /disks/{id}/drain", s.drain)
	mux.HandleFunc("DELETE /disks/{id}", s.drop)
	return mux
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client is gone, which concerns nobody else
}

// refuse maps an error to a status; the text is for people.
func refuse(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	switch {
	case errors.Is(err, storage.ErrInvalid):
		code = http.StatusBadRequest
	case errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrFull):
		code = http.StatusServiceUnavailable
	}
	http.Error(w, err.Error(), code)
}

func (s *Server) list() Disks {
	out := Disks{Settled: s.disks.Settled()}
	for _, d := range s.disks.Disks() {
		i := Disk{ID: d.ID, Dir: d.Dir, Weight: d.Weight, Draining: d.Draining, Total: d.Total, Free: d.Free}
		if d.Err != nil {
			i.Error = d.Err.Error()
		}
		out.Disks = append(out.Disks, i)
	}
	s.mu.Lock()
	b := s.balance
	s.mu.Unlock()
	if b == nil || out.Settled {
		return out
	}
	if p := b.progress.Load(); p != nil {
		out.On, out.Seen, out.Moved, out.Failed = p.Disk, p.Seen, p.Moved, p.Failed
	}
	if e := b.err.Load(); e != nil {
		out.Error = (*e).Error()
	}
	return out
}

func (s *Server) add(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Dir     string  `json:"dir"`
		Weight  float64 `json:"weight"`
		Replace string  `json:"replace"`
		// Lose lets go of what only the disk held that is replaced.
		Lose bool `json:"lose"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		refuse(w, fmt.Errorf("%w: reading the request: %w", storage.ErrInvalid, err))
		return
	}
	if !filepath.IsAbs(in.Dir) || in.Weight < 0 {
		refuse(w, fmt.Errorf("%w: dir must be an absolute path, and weight not below 0", storage.ErrInvalid))
		return
	}
	var id string
	var err error
	if in.Replace != "" {
		id, err = s.disks.ReplaceDisk(in.Replace, in.Dir, in.Weight, in.Lose)
	} else {
		id, err = s.disks.AddDisk(in.Dir, in.Weight)
	}
	if err == nil {
		err = s.rememberPool()
	}
	if err != nil {
		refuse(w, err)
		return
	}
	s.cfg.Log.Info("a disk was added", "path", in.Dir, "disk", id)
	s.beginBalance()
	reply(w, map[string]string{"id": id})
}

func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	if err := s.disks.DrainDisk(r.PathValue("id")); err != nil {
		refuse(w, err)
		return
	}
	s.cfg.Log.Info("a disk is drained", "disk", r.PathValue("id"))
	s.beginBalance()
	reply(w, struct{}{})
}

func (s *Server) drop(w http.ResponseWriter, r *http.Request) {
	err := s.disks.DropDisk(r.PathValue("id"), r.URL.Query().Get("lose") == "true")
	if err == nil {
		err = s.rememberPool()
	}
	if err != nil {
		refuse(w, err)
		return
	}
	s.cfg.Log.Info("a disk was taken out", "disk", r.PathValue("id"))
	s.beginBalance()
	reply(w, struct{}{})
}

// beginBalance moves what does not lie where it belongs, unless that goes on already.
func (s *Server) beginBalance() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || s.balance != nil && !s.balance.over.Load() {
		return
	}
	b := &balance{}
	s.balance = b
	s.work.Go(func() {
		defer b.over.Store(true)
		for !s.disks.Settled() && s.ctx.Err() == nil {
			err := s.disks.Balance(s.ctx, func(p disk.Progress) { b.progress.Store(&p) })
			if err != nil && !errors.Is(err, disk.ErrChanged) {
				b.err.Store(&err)
				if s.ctx.Err() == nil {
					s.cfg.Log.Error("objects could not be moved where they belong", "err", err)
				}
				return
			}
		}
		if err := s.rememberPool(); err != nil { // drained disks have left it
			s.cfg.Log.Error("which disks there are could not be written down", "err", err)
		}
	})
}
