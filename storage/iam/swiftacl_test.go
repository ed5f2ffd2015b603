package iam

import (
	"errors"
	"strings"
	"testing"

	"polder.dev/polder/storage"
)

func TestSwiftACL(t *testing.T) {
	for name, c := range map[string]struct {
		acl, referer string
		who          Identity
		read, list   bool
	}{
		"everybody reads, nobody lists":  {".r:*", "", Identity{}, true, false},
		"everybody lists":                {".r:*,.rlistings", "", Identity{}, true, true},
		"listings alone say nothing":     {".rlistings", "", Identity{}, false, false},
		"a host":                         {".r:a.example", "http://a.example/x", Identity{}, true, false},
		"another host":                   {".r:a.example", "http://b.example/x", Identity{}, false, false},
		"below a domain":                 {".r:.example", "https://a.example:80/", Identity{}, true, false},
		"the last rule counts":           {".r:*,.r:-.example", "http://a.example/", Identity{}, false, false},
		"an account":                     {"test", "", Identity{Account: "test", User: "u"}, true, true},
		"a user":                         {"test:u", "", Identity{Account: "test", User: "u"}, true, true},
		"another user":                   {"test:u", "", Identity{Account: "test", User: "v"}, false, false},
		"a group":                        {"x, g", "", Identity{Account: "test", User: "v", Groups: []string{"g"}}, true, true},
		"a star for the account":         {"*:u", "", Identity{Account: "any", User: "u"}, true, true},
		"nobody is no user":              {"*:*", "", Identity{}, false, false},
		"a referrer of another's making": {".r:unknown.example", "not a url", Identity{}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := ParseSwiftACL(c.acl)
			if err != nil {
				t.Fatal(err)
			}
			q := &Request{Who: c.who, Referer: c.referer}
			if a.reads(q) != c.read || a.lists(q) != c.list {
				t.Errorf("reads %v, lists %v", a.reads(q), a.lists(q))
			}
		})
	}
}

func TestCleanSwiftACL(t *testing.T) {
	for in, want := range map[string]string{
		" a , b:c ,": "a,b:c", ".referrer: *.example": ".r:.example", ".r: - a": ".r:-a", ".rlistings": ".rlistings",
	} {
		if got, err := CleanSwiftACL("X-Container-Read", in); err != nil || got != want {
			t.Errorf("%q becomes %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{".r:", ".r:-", ".x:y"} {
		if _, err := CleanSwiftACL("X-Container-Read", in); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("%q: %v", in, err)
		}
	}
	if _, err := CleanSwiftACL("X-Container-Write", ".r:*"); err == nil || !strings.Contains(err.Error(), "Referrers") {
		t.Errorf("a referrer may write: %v", err)
	}
}

func FuzzSwiftACL(f *testing.F) {
	f.Add(".r:*,.rlistings", "http://h/")
	f.Fuzz(func(t *testing.T, s, referer string) {
		clean, err := CleanSwiftACL("X-Container-Read", s)
		if err != nil {
			return
		}
		again, err := CleanSwiftACL("X-Container-Read", clean)
		if err != nil || again != clean {
			t.Errorf("%q becomes %q and then %q, %v", s, clean, again, err)
		}
		a, err := ParseSwiftACL(clean)
		if err != nil {
			t.Fatal(err)
		}
		a.reads(&Request{Referer: referer})
	})
}
