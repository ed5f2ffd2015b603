package iam

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCanned(t *testing.T) {
	own := Grant{Account: "w", Permission: FullControl}
	for name, want := range map[string][]Grant{
		"":                     {own},
		"private":              {own},
		"public-read":          {own, {Group: AllUsers, Permission: Read}},
		"public-read-write":    {own, {Group: AllUsers, Permission: Read}, {Group: AllUsers, Permission: Write}},
		"authenticated-read":   {own, {Group: AuthenticatedUsers, Permission: Read}},
		"log-delivery-write":   {own, {Group: LogDelivery, Permission: Write}, {Group: LogDelivery, Permission: ReadACP}},
		BucketOwnerRead:        {own, {Account: "b", Permission: Read}},
		BucketOwnerFullControl: {own, {Account: "b", Permission: FullControl}},
	} {
		a, err := Canned(name, "w", "b")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(&ACL{Owner: "w", Grants: want}, a); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if a, err := Canned(BucketOwnerRead, "b", "b"); err != nil || len(a.Grants) != 1 {
		t.Errorf("of one's own bucket: %+v, %v", a, err)
	}
	if _, err := Canned("public", "w", "b"); !errors.Is(err, ErrCanned) {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestGrantees(t *testing.T) {
	for s, want := range map[string][]Grantee{
		``:             nil,
		`id=a`:         {{ID: "a"}},
		`id="a", id=b`: {{ID: "a"}, {ID: "b"}},
		`uri="` + AllUsers + `",emailAddress="x@y"`: {{URI: AllUsers}, {Email: "x@y"}},
		` ID = 'a,b' `: {{ID: "a,b"}},
	} {
		got, err := ParseGrantees(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", s, d)
		}
	}
	for _, s := range []string{"a", "name=a", `id="a`, `id="a"b`, "id=a,,id=b"} {
		if got, err := ParseGrantees(s); !errors.Is(err, ErrGrantee) {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
}

func FuzzParseGrantees(f *testing.F) {
	f.Add(`id="a", emailAddress=b, uri='c'`)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseGrantees(s)
		if err != nil && !errors.Is(err, ErrGrantee) || len(got) > GrantsMax {
			t.Errorf("%d grantees, %v", len(got), err)
		}
	})
}

func TestGrant(t *testing.T) {
	dir, err := NewUsers([]User{{Account: "a", Name: "u", Password: "p", Email: "a@x"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		g    Grantee
		p    Permission
		want Grant
		err  error
	}{
		{Grantee{ID: "a"}, Read, Grant{Account: "a", Permission: Read}, nil},
		{Grantee{Email: "a@x"}, Write, Grant{Account: "a", Permission: Write}, nil},
		{Grantee{URI: AllUsers}, Write, Grant{Group: AllUsers, Permission: Write}, nil},
		{Grantee{ID: "b"}, Read, Grant{}, ErrGrantee},
		{Grantee{ID: "a@x"}, Read, Grant{}, ErrGrantee},
		{Grantee{Email: "b@x"}, Read, Grant{}, ErrEmail},
		{Grantee{Email: "a"}, Read, Grant{}, ErrEmail},
		{Grantee{URI: "http://x"}, Read, Grant{}, ErrGrantee},
		{Grantee{}, Read, Grant{}, ErrGrantee},
		{Grantee{ID: "a"}, "ALL", Grant{}, ErrGrantee},
	} {
		got, err := c.g.Grant(t.Context(), dir, c.p)
		if !errors.Is(err, c.err) || err == nil && got != c.want {
			t.Errorf("%+v: %+v, %v", c.g, got, err)
		}
	}
}

// TestGrants is what ACLs of bucket and object together allow.
func TestGrants(t *testing.T) {
	owner := Identity{Account: "own", User: "u", Admin: true}
	writer := Identity{Account: "writer", User: "u", Admin: true}
	alt := Identity{Account: "alt", User: "u", Admin: true}
	clerk := Identity{Account: "alt", User: "clerk"}
	nobody := Identity{}
	canned := func(name, owner string) *ACL {
		a, err := Canned(name, owner, "own")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	private := canned("private", "own")
	shared := canned("public-read-write", "own")
	toAlt := &ACL{Owner: "own", Grants: []Grant{{Account: "alt", Permission: Read}}}
	for name, c := range map[string]struct {
		bucket, object *ACL
		ownership      Ownership
		block          PublicBlock
		who            Identity
		action         Action
		want           bool
	}{
		"private bucket":                  {bucket: private, who: alt, action: ListBucket},
		"public list":                     {bucket: shared, who: nobody, action: ListBucket, want: true},
		"public list of versions":         {bucket: shared, who: nobody, action: "s3:ListBucketVersions", want: true},
		"public write":                    {bucket: shared, who: nobody, action: PutObject, want: true},
		"public delete":                   {bucket: shared, who: nobody, action: DeleteObject, want: true},
		"public delete of versions":       {bucket: shared, who: nobody, action: "s3:DeleteObjectVersion"},
		"public but not its ACL":          {bucket: shared, who: alt, action: "s3:GetBucketAcl"},
		"public but not its location":     {bucket: shared, who: alt, action: "s3:GetBucketLocation"},
		"public bucket, private object":   {bucket: shared, object: private, who: alt, action: GetObject},
		"private bucket, public object":   {bucket: private, object: shared, who: alt, action: GetObject, want: true},
		"an object without an ACL":        {bucket: shared, who: alt, action: GetObject},
		"authenticated":                   {bucket: private, object: canned("authenticated-read", "own"), who: clerk, action: GetObject, want: true},
		"authenticated is not nobody":     {bucket: private, object: canned("authenticated-read", "own"), who: nobody, action: GetObject},
		"granted to an account":           {bucket: private, object: toAlt, who: alt, action: GetObject, want: true},
		"attributes go with reading":      {bucket: private, object: toAlt, who: alt, action: "s3:GetObjectAttributes", want: true},
		"an account is its admins":        {bucket: private, object: toAlt, who: clerk, action: GetObject},
		"ignored":                         {bucket: shared, block: PublicBlock{IgnoreACLs: true}, who: alt, action: ListBucket},
		"ignored, but not for an account": {object: toAlt, block: PublicBlock{IgnoreACLs: true}, who: alt, action: GetObject, want: true},
		"no ACLs":                         {bucket: shared, ownership: BucketOwnerEnforced, who: alt, action: ListBucket},
		"the owner reads another's":       {bucket: shared, object: canned("private", "writer"), who: owner, action: GetObject, want: true},
		"the writer reads its own":        {bucket: shared, object: canned("private", "writer"), who: writer, action: GetObject, want: true},
		"the writer changes its ACL":      {bucket: shared, object: &ACL{Owner: "writer"}, who: writer, action: "s3:PutObjectAcl", want: true},
		"the writer tags":                 {bucket: shared, object: &ACL{Owner: "writer"}, who: writer, action: "s3:PutObjectTagging", want: true},
		"a reader does not tag":           {bucket: shared, object: shared, who: alt, action: "s3:PutObjectTagging"},
		"an owner who renounced writing":  {bucket: &ACL{Owner: "own"}, who: owner, action: PutObject},
		"an owner keeps the ACL":          {bucket: &ACL{Owner: "own"}, who: owner, action: "s3:PutBucketAcl", want: true},
		"an owner keeps other rights":     {bucket: &ACL{Owner: "own"}, who: owner, action: "s3:PutLifecycleConfiguration", want: true},
		"an owner without an ACL":         {who: owner, action: PutObject, want: true},
		"an operator renounces nothing":   {bucket: &ACL{Owner: "own"}, who: Identity{Account: "op", Operator: true}, action: PutObject, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Rules{Owner: "own", ACL: c.bucket, Ownership: c.ownership, Public: c.block}
			if got := r.Allows(&Request{Who: c.who, Action: c.action, Bucket: "b", Key: "k", Object: c.object}); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestOwnership(t *testing.T) {
	for _, c := range []struct {
		o      Ownership
		writer string
		canned string
		want   string
	}{
		{"", "w", "", "w"},
		{ObjectWriter, "w", BucketOwnerFullControl, "w"},
		{ObjectWriter, "", "", "own"},
		{BucketOwnerPreferred, "w", "", "w"},
		{BucketOwnerPreferred, "w", BucketOwnerFullControl, "own"},
		{BucketOwnerEnforced, "w", "", "own"},
	} {
		if got := c.o.Owner(c.writer, "own", c.canned); got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}
