package iam

import "testing"

func TestAccess(t *testing.T) {
	list := []Access{
		{Account: "b", User: "u", Role: Writer, Prefix: "in/"},
		{Account: "c", Role: Reader},
		{Account: Everybody, Role: Reader, Prefix: "pub/"},
		{Account: Everybody, Role: Writer, Prefix: "drop/"},
	}
	parsed, err := ParseAccess(EncodeAccess(list))
	if err != nil {
		t.Fatal(err)
	}
	r := &Rules{Owner: "a", Access: parsed}
	bu, c, nobody := Identity{Account: "b", User: "u"}, Identity{Account: "c", User: "x"}, Identity{}
	for name, q := range map[string]struct {
		Request
		want bool
	}{
		"a writer writes below its prefix":        {Request{Who: bu, Action: PutObject, Key: "in/x"}, true},
		"and not beside it":                       {Request{Who: bu, Action: PutObject, Key: "out/x"}, false},
		"another user of the account does not":    {Request{Who: Identity{Account: "b", User: "v"}, Action: PutObject, Key: "in/x"}, false},
		"a reader reads":                          {Request{Who: c, Action: GetObject, Key: "k"}, true},
		"and does not write":                      {Request{Who: c, Action: PutObject, Key: "k"}, false},
		"nor delete versions as a writer":         {Request{Who: bu, Action: "s3:DeleteObjectVersion", Key: "in/x"}, false},
		"nobody reads what is public":             {Request{Who: nobody, Action: GetObject, Key: "pub/x"}, true},
		"nobody lists what is public":             {Request{Who: nobody, Action: ListBucket, Context: map[string][]string{"s3:prefix": {"pub/"}}}, true},
		"nobody lists all":                        {Request{Who: nobody, Action: ListBucket}, false},
		"nobody writes without a signature":       {Request{Who: nobody, Action: PutObject, Key: "drop/x"}, false},
		"everybody with a signature does":         {Request{Who: c, Action: PutObject, Key: "drop/x"}, true},
		"a reader of the account reads all":       {Request{Who: Identity{Account: "a", Role: Reader}, Action: GetObject, Key: "k"}, true},
		"a reader of the account does not write":  {Request{Who: Identity{Account: "a", Role: Reader}, Action: PutObject, Key: "k"}, false},
		"a writer of the account does not set up": {Request{Who: Identity{Account: "a", Role: Writer}, Action: EditBucket}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := r.Allows(&q.Request); got != q.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
