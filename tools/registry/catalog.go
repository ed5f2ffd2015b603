package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/distribution/v3/registry/storage/driver"
)

// catalogEntries is how many repositories are listed to who does not say.
const catalogEntries = 100

// catalog answers with a page of the repositories that who may pull, in order. It
// returns an error, and has written nothing, when it cannot.
func (g *guard) catalog(w http.ResponseWriter, r *http.Request, who asker) error {
	q := r.URL.Query()
	n := catalogEntries
	if text := q.Get("n"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 0 || n > catalogEntriesMax {
			return errcode.ErrorCodePaginationNumberInvalid.WithDetail(map[string]string{"n": text})
		}
	}
	all, err := g.repositories(r)
	if err != nil {
		return errcode.ErrorCodeUnknown.WithMessage("the repositories cannot be listed: " + err.Error())
	}
	page := []string{}
	more := false
	for _, name := range all {
		if n == 0 || name <= q.Get("last") {
			continue
		}
		err := g.judge(r.Context(), who, pull, name)
		var e errcode.Error
		if errors.As(err, &e) && e.Code == errcode.ErrorCodeDenied {
			continue
		}
		if err != nil {
			return err
		}
		if more = len(page) == n; more {
			break
		}
		page = append(page, name)
	}
	w.Header().Set("Content-Type", "application/json")
	if more {
		next := url.URL{Path: r.URL.Path, RawQuery: url.Values{"n": {strconv.Itoa(n)}, "last": {page[n-1]}}.Encode()}
		w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, &next))
	}
	_ = json.NewEncoder(w).Encode(map[string][]string{"repositories": page}) // fails when the asker is gone
	return nil
}

// repositories lists them all, by name. A page is cut out of what is left for the
// asker, so that it is full whoever asks, and the link is there when more follows.
func (g *guard) repositories(r *http.Request) ([]string, error) {
	var all []string
	err := g.store.Enumerate(r.Context(), func(name string) error {
		all = append(all, name)
		return nil
	})
	var none driver.PathNotFoundError
	if err != nil && !errors.As(err, &none) { // nothing was pushed yet
		return nil, err
	}
	slices.Sort(all)
	return all, nil
}
