package iam

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// allow makes a policy of one statement.
func allow(principal, action, resource, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":%s,"Action":%s,"Resource":%s%s}]}`, principal, action, resource, condition)
}

const all = `"*"`

func TestPolicyRefused(t *testing.T) {
	object := `"arn:aws:s3:::b/*"`
	for name, c := range map[string]struct{ policy, want string }{
		"no JSON":             {`{`, "JSON"},
		"a list":              {`[]`, "JSON"},
		"null":                {`null`, "JSON"},
		"unknown field":       {`{"Version":"2012-10-17","statement":[]}`, `"statement"`},
		"version":             {`{"Version":"2020-01-01","Statement":[]}`, "Version"},
		"no statement":        {`{"Version":"2012-10-17"}`, "Statement"},
		"empty statement":     {`{"Version":"2012-10-17","Statement":[]}`, "Statement"},
		"id":                  {`{"Id":5,"Statement":[{}]}`, "Id"},
		"effect":              {`{"Statement":[{"Effect":"allow"}]}`, "Statement[0].Effect"},
		"no principal":        {`{"Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}]}`, "Statement[0].Principal"},
		"principal":           {allow(`"bob"`, `"s3:GetObject"`, object, ""), ".Principal"},
		"kind of principal":   {allow(`{"GCP":"bob"}`, `"s3:GetObject"`, object, ""), "GCP"},
		"role":                {allow(`{"AWS":"arn:aws:iam::1:role/r"}`, `"s3:GetObject"`, object, ""), "arn:aws:iam::1:role/r"},
		"wildcard in an ARN":  {allow(`{"AWS":"arn:aws:iam::*:root"}`, `"s3:GetObject"`, object, ""), "wildcard"},
		"unknown action":      {allow(all, `"s3:ListObjects"`, object, ""), "s3:ListObjects"},
		"other service":       {allow(all, `["s3:GetObject","ec2:*"]`, object, ""), "ec2:*"},
		"no action":           {allow(all, `[]`, object, ""), "Action"},
		"action and not":      {`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","NotAction":"s3:*","Resource":"*"}]}`, "NotAction"},
		"resource":            {allow(all, `"s3:GetObject"`, `"b/*"`, ""), "Resource"},
		"other resource":      {allow(all, `"s3:GetObject"`, `"arn:aws:sqs:::b"`, ""), "Resource"},
		"object as resource":  {allow(all, `"s3:GetObject"`, `{}`, ""), "Resource"},
		"operator":            {allow(all, `"s3:GetObject"`, object, `{"StringIs":{"aws:Referer":"x"}}`), "StringIs"},
		"null if exists":      {allow(all, `"s3:GetObject"`, object, `{"NullIfExists":{"aws:Referer":"true"}}`), "NullIfExists"},
		"key":                 {allow(all, `"s3:GetObject"`, object, `{"StringEquals":{"s3:colour":"x"}}`), "s3:colour"},
		"key of tags":         {allow(all, `"s3:GetObject"`, object, `{"StringEquals":{"s3:ExistingObjectTag":"x"}}`), "s3:ExistingObjectTag"},
		"number":              {allow(all, `"s3:ListBucket"`, object, `{"NumericLessThan":{"s3:max-keys":"ten"}}`), "ten"},
		"date":                {allow(all, `"s3:ListBucket"`, object, `{"DateLessThan":{"aws:CurrentTime":"soon"}}`), "soon"},
		"truth":               {allow(all, `"s3:ListBucket"`, object, `{"Bool":{"aws:SecureTransport":"maybe"}}`), "maybe"},
		"address":             {allow(all, `"s3:ListBucket"`, object, `{"IpAddress":{"aws:SourceIp":"10.0.0/8"}}`), "10.0.0/8"},
		"value of a key":      {allow(all, `"s3:ListBucket"`, object, `{"StringEquals":{"aws:Referer":{}}}`), "aws:Referer"},
		"allow to all but":    {`{"Statement":{"Effect":"Allow","NotPrincipal":{"AWS":"bob"},"Action":"s3:*","Resource":"*"}}`, "Statement[0].NotPrincipal"},
		"longer than allowed": {allow(all, `"s3:GetObject"`, object, "") + strings.Repeat(" ", PolicyBytesMax), "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParsePolicy(c.policy)
			if !errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestPolicyWithin(t *testing.T) {
	for resource, want := range map[string]bool{
		"arn:aws:s3:::b": true, "arn:aws:s3:::b/*": true, "arn:aws:s3:::*": true, "arn:aws:s3:::*/*": true, "*": true,
		"arn:aws:s3::*:b": true, "arn:aws:s3:::?/k": true, "arn:aws:s3:::b/${aws:username}/*": true,
		"arn:aws:s3:::c": false, "arn:aws:s3:::bb/*": false, "arn:aws:s3:::c*": false, "arn:aws:s3:::${aws:username}": false,
		"arn:aws:s3:::c/b": false,
	} {
		t.Run(resource, func(t *testing.T) {
			p, err := ParsePolicy(allow(all, `"s3:*"`, `"`+resource+`"`, ""))
			if err != nil {
				t.Fatal(err)
			}
			err = p.Within("b")
			if got := err == nil; got != want || err != nil && !errors.Is(err, ErrPolicy) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestPolicyVerdict(t *testing.T) {
	bob := Identity{Account: "bob", User: "root", Admin: true}
	clerk := Identity{Account: "bob", User: "clerk"}
	nobody := Identity{}
	const object = `"arn:aws:s3:::b/*"`
	get := func(who Identity, key string) Request {
		return Request{Who: who, Action: GetObject, Bucket: "b", Key: key}
	}
	list := func(who Identity) Request { return Request{Who: who, Action: ListBucket, Bucket: "b"} }
	logs := get(nobody, "k")
	logs.Service = LogService
	for name, c := range map[string]struct {
		policy string
		q      Request
		want   Verdict
	}{
		"everybody":             {allow(all, `"s3:GetObject"`, object, ""), get(nobody, "k"), Allow},
		"everybody in an AWS":   {allow(`{"AWS":["*"]}`, `"s3:GetObject"`, object, ""), get(nobody, "k"), Allow},
		"case of actions":       {allow(all, `"S3:getobject"`, object, ""), get(nobody, "k"), Allow},
		"wildcard of actions":   {allow(all, `"s3:Get*"`, object, ""), get(nobody, "k"), Allow},
		"all actions":           {allow(all, `"*"`, object, ""), get(nobody, "k"), Allow},
		"other action":          {allow(all, `"s3:PutObject"`, object, ""), get(nobody, "k"), Silent},
		"bucket is no object":   {allow(all, `"s3:*"`, `"arn:aws:s3:::b"`, ""), get(nobody, "k"), Silent},
		"object is no bucket":   {allow(all, `"s3:*"`, object, ""), list(nobody), Silent},
		"star crosses slashes":  {allow(all, `"s3:*"`, `"arn:aws:s3:::b/a*z"`, ""), get(nobody, "a/b/z"), Allow},
		"star goes back":        {allow(all, `"s3:*"`, `"arn:aws:s3:::b/*ab?d*e"`, ""), get(nobody, "abxabcdxe"), Allow},
		"question is one":       {allow(all, `"s3:*"`, `"arn:aws:s3:::b/k?"`, ""), get(nobody, "kä"), Allow},
		"question is not none":  {allow(all, `"s3:*"`, `"arn:aws:s3:::b/k?"`, ""), get(nobody, "k"), Silent},
		"account by ARN":        {allow(`{"AWS":"arn:aws:iam::bob:root"}`, `"s3:GetObject"`, object, ""), get(bob, "k"), Allow},
		"account by id":         {allow(`{"AWS":"bob"}`, `"s3:GetObject"`, object, ""), get(bob, "k"), Allow},
		"canonical user":        {allow(`{"CanonicalUser":"bob"}`, `"s3:GetObject"`, object, ""), get(bob, "k"), Allow},
		"account is its admins": {allow(`{"AWS":"bob"}`, `"s3:GetObject"`, object, ""), get(clerk, "k"), Silent},
		"user":                  {allow(`{"AWS":"arn:aws:iam::bob:user/path/clerk"}`, `"s3:GetObject"`, object, ""), get(clerk, "k"), Allow},
		"other user":            {allow(`{"AWS":"arn:aws:iam::bob:user/clerk"}`, `"s3:GetObject"`, object, ""), get(bob, "k"), Silent},
		"user without account":  {allow(`{"AWS":"arn:aws:iam:::user/bob"}`, `"s3:GetObject"`, object, ""), get(bob, "k"), Allow},
		"named is not nobody":   {allow(`{"AWS":"bob"}`, `"s3:GetObject"`, object, ""), get(nobody, "k"), Silent},
		"service":               {allow(`{"Service":"logging.s3.amazonaws.com"}`, `"s3:GetObject"`, object, ""), get(bob, "k"), Silent},
		"service that asks":     {allow(`{"Service":"logging.s3.amazonaws.com"}`, `"s3:GetObject"`, object, ""), logs, Allow},
		"other service":         {allow(`{"Service":"config.amazonaws.com"}`, `"s3:GetObject"`, object, ""), logs, Silent},
		"service is no account": {allow(`{"AWS":"bob"}`, `"s3:GetObject"`, object, ""), logs, Silent},
		"not service":           {`{"Statement":{"Effect":"Deny","NotPrincipal":{"Service":"logging.s3.amazonaws.com"},"Action":"s3:*","Resource":"*"}}`, logs, Silent},
		"variable":              {allow(all, `"s3:*"`, `"arn:aws:s3:::b/${aws:username}/*"`, ""), get(clerk, "clerk/x"), Allow},
		"variable of another":   {allow(all, `"s3:*"`, `"arn:aws:s3:::b/${aws:username}/*"`, ""), get(bob, "clerk/x"), Silent},
		"variable of nobody":    {allow(all, `"s3:*"`, `"arn:aws:s3:::b/${aws:username}*"`, ""), get(nobody, ""), Silent},
		"variable's default":    {allow(all, `"s3:*"`, `"arn:aws:s3:::b/${aws:username, 'guest'}"`, ""), get(nobody, "guest"), Allow},
		"variable is literal":   {allow(all, `"s3:*"`, `"arn:aws:s3:::b/${aws:username}"`, ""), get(Identity{Account: "x", User: "*"}, "anything"), Silent},
		"escaped star":          {allow(all, `"s3:*"`, `"arn:aws:s3:::b/${*}"`, ""), get(nobody, "x"), Silent},
		"not action":            {`{"Statement":{"Effect":"Allow","Principal":"*","NotAction":"s3:Put*","Resource":"arn:aws:s3:::b/*"}}`, get(nobody, "k"), Allow},
		"not action, named":     {`{"Statement":{"Effect":"Allow","Principal":"*","NotAction":"s3:Get*","Resource":"arn:aws:s3:::b/*"}}`, get(nobody, "k"), Silent},
		"not resource":          {`{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","NotResource":"arn:aws:s3:::b/open/*"}}`, get(bob, "shut/k"), Deny},
		"not resource, named":   {`{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","NotResource":"arn:aws:s3:::b/open/*"}}`, get(bob, "open/k"), Silent},
		"not principal":         {`{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"bob"},"Action":"s3:*","Resource":"*"}}`, get(nobody, "k"), Deny},
		"not principal, named":  {`{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"bob"},"Action":"s3:*","Resource":"*"}}`, get(bob, "k"), Silent},
		"deny is the account":   {`{"Statement":{"Effect":"Deny","Principal":{"AWS":"bob"},"Action":"s3:*","Resource":"*"}}`, get(clerk, "k"), Deny},
		"deny before allow": {`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"},
			{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/secret*"}]}`, get(bob, "secret"), Deny},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := ParsePolicy(c.policy)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.verdict(&Rules{Policy: p}, &c.q); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	have := map[string][]string{
		"aws:sourceip": {"10.1.2.3"}, "aws:referer": {"http://www.example.com/a"}, "aws:securetransport": {"false"},
		"aws:currenttime": {"2026-05-01T12:00:00Z"}, "s3:max-keys": {"10"}, "s3:existingobjecttag/Colour": {"Red"},
		"aws:tagkeys": {"a", "b"},
	}
	for condition, want := range map[string]bool{
		`{"StringEquals":{"s3:ExistingObjectTag/Colour":"Red"}}`:                      true,
		`{"StringEquals":{"s3:existingobjecttag/Colour":["Blue","Red"]}}`:             true,
		`{"StringEquals":{"s3:ExistingObjectTag/colour":"Red"}}`:                      false,
		`{"StringEquals":{"s3:ExistingObjectTag/Colour":"red"}}`:                      false,
		`{"StringEqualsIgnoreCase":{"s3:ExistingObjectTag/Colour":"rED"}}`:            true,
		`{"StringNotEquals":{"s3:ExistingObjectTag/Colour":["Blue","Red"]}}`:          false,
		`{"StringNotEquals":{"s3:ExistingObjectTag/Size":"L"}}`:                       true,
		`{"StringEqualsIfExists":{"s3:ExistingObjectTag/Size":"L"}}`:                  true,
		`{"StringLike":{"aws:Referer":"http://www.example.com/*"}}`:                   true,
		`{"StringLike":{"aws:Referer":"https://*"}}`:                                  false,
		`{"StringNotLike":{"aws:Referer":"https://*"}}`:                               true,
		`{"StringLike":{"s3:prefix":"*"}}`:                                            false,
		`{"StringLike":{"aws:Referer":"*"},"Bool":{"aws:SecureTransport":"true"}}`:    false,
		`{"Bool":{"aws:SecureTransport":false}}`:                                      true,
		`{"NumericLessThanEquals":{"s3:max-keys":10}}`:                                true,
		`{"NumericLessThan":{"s3:max-keys":"10"}}`:                                    false,
		`{"NumericNotEquals":{"s3:max-keys":"9"}}`:                                    true,
		`{"DateGreaterThan":{"aws:CurrentTime":"2026-04-30T00:00:00Z"}}`:              true,
		`{"DateLessThan":{"aws:CurrentTime":"1777000000"}}`:                           false,
		`{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`:                                 true,
		`{"IpAddress":{"aws:SourceIp":["10.1.2.4","192.168.0.0/16"]}}`:                false,
		`{"NotIpAddress":{"aws:SourceIp":"10.1.2.3"}}`:                                false,
		`{"Null":{"aws:Referer":"false"}}`:                                            true,
		`{"Null":{"s3:prefix":"true"}}`:                                               true,
		`{"Null":{"s3:prefix":"false"}}`:                                              false,
		`{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b","c"]}}`:                 true,
		`{"ForAllValues:StringEquals":{"aws:TagKeys":["a"]}}`:                         false,
		`{"ForAllValues:StringEquals":{"aws:RequestedRegion":["a"]}}`:                 true,
		`{"ForAnyValue:StringEquals":{"aws:TagKeys":["b","c"]}}`:                      true,
		`{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["a"]}}`:                       true,
		`{"ForAnyValue:StringNotEquals":{"aws:RequestedRegion":["a"]}}`:               false,
		`{"StringEquals":{"aws:username":"${aws:PrincipalAccount}"}}`:                 true,
		`{"StringEquals":{"aws:username":"same"},"IpAddress":{"aws:SourceIp":"::1"}}`: false,
	} {
		t.Run(condition, func(t *testing.T) {
			p, err := ParsePolicy(allow(all, `"s3:*"`, all, condition))
			if err != nil {
				t.Fatal(err)
			}
			q := &Request{Who: Identity{Account: "same", User: "same"}, Action: GetObject, Bucket: "b", Key: "k", Context: have}
			if got := p.verdict(&Rules{}, q) == Allow; got != want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestPolicyPublic(t *testing.T) {
	bob := `{"AWS":"bob"}`
	for name, c := range map[string]struct {
		policy string
		want   bool
	}{
		"everybody":      {allow(all, `"s3:GetObject"`, all, ""), true},
		"somebody":       {allow(bob, `"s3:GetObject"`, all, ""), false},
		"a deny":         {`{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}}`, false},
		"from addresses": {allow(all, `"s3:*"`, all, `{"IpAddress":{"aws:SourceIp":"10.0.0.0/32"}}`), false},
		"from anywhere":  {allow(all, `"s3:*"`, all, `{"IpAddress":{"aws:SourceIp":"0.0.0.0/1"}}`), true},
		"by referer":     {allow(all, `"s3:*"`, all, `{"StringLike":{"aws:Referer":"http://x/*"}}`), true},
		"by account":     {allow(all, `"s3:*"`, all, `{"StringEquals":{"aws:PrincipalAccount":"bob"}}`), false},
		"by wildcard":    {allow(all, `"s3:*"`, all, `{"StringLike":{"aws:PrincipalAccount":"*"}}`), true},
		"if exists":      {allow(all, `"s3:*"`, all, `{"StringEqualsIfExists":{"aws:PrincipalAccount":"bob"}}`), true},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := ParsePolicy(c.policy)
			if err != nil {
				t.Fatal(err)
			}
			if p.Public() != c.want {
				t.Errorf("got %v", p.Public())
			}
			r := &Rules{Owner: "own", Policy: p, Public: PublicBlock{RestrictBuckets: true}}
			q := &Request{Who: Identity{Account: "bob", Admin: true}, Action: GetObject, Bucket: "b", Key: "k"}
			if c.want && r.Allows(q) {
				t.Error("a restricted bucket gives something to another account")
			}
		})
	}
}

func TestPolicyAsks(t *testing.T) {
	p, err := ParsePolicy(allow(all, `"s3:*"`, `"arn:aws:s3:::b/${aws:Referer}"`, `{"StringEquals":{"s3:ExistingObjectTag/A":"x"}}`))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"s3:existingobjecttag/": true, "aws:referer": true, "s3:requestobjecttag/": false, "aws:sourceip": false} {
		if p.Asks(key) != want {
			t.Errorf("%s: got %v", key, !want)
		}
	}
}

// TestOwnerKeepsPolicy proves that no policy locks a bucket for good.
func TestOwnerKeepsPolicy(t *testing.T) {
	p, err := ParsePolicy(`{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}}`)
	if err != nil {
		t.Fatal(err)
	}
	r := &Rules{Owner: "own", Policy: p}
	for action, want := range map[Action]bool{"s3:DeleteBucketPolicy": true, "s3:PutBucketPolicy": true, GetObject: false, ListBucket: false} {
		if got := r.Allows(&Request{Who: Identity{Account: "own", Admin: true}, Action: action, Bucket: "b"}); got != want {
			t.Errorf("%s: got %v", action, got)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add(allow(all, `"s3:*"`, `["arn:aws:s3:::b","arn:aws:s3:::b/*${aws:username, 'x'}?"]`, `{"StringLike":{"aws:Referer":["a*","?"]},"Null":{"s3:prefix":true}}`), "k")
	f.Add(`{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":["bob","arn:aws:iam:::user/a/b"]},"NotAction":"s3:Get*","NotResource":"*"}}`, "a/b")
	f.Add(allow(`{"CanonicalUser":"x"}`, `"*"`, all, `{"ForAllValues:NumericLessThan":{"s3:max-keys":[1,"2"]},"IpAddress":{"aws:SourceIp":"::/0"},"DateEquals":{"aws:CurrentTime":"2020-01-01"}}`), "")
	f.Fuzz(func(t *testing.T, s, key string) {
		p, err := ParsePolicy(s)
		if err != nil {
			if !errors.Is(err, ErrPolicy) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		_ = p.Within("b")
		r := &Rules{Owner: "own", Policy: p}
		q := &Request{Action: GetObject, Bucket: "b", Key: key, Context: map[string][]string{"aws:referer": {key}, "s3:max-keys": {key}, "aws:sourceip": {"::1"}}}
		if v := p.verdict(r, q); r.Allows(q) != (v == Allow) {
			t.Errorf("the verdict is %v, and Allows says otherwise", v)
		}
	})
}

func BenchmarkAllows(b *testing.B) {
	p, err := ParsePolicy(allow(`{"AWS":["arn:aws:iam::x:root","arn:aws:iam::bob:root"]}`, `["s3:PutObject","s3:GetObject"]`, `["arn:aws:s3:::b","arn:aws:s3:::b/data/*"]`, `{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`))
	if err != nil {
		b.Fatal(err)
	}
	r := &Rules{Owner: "own", Policy: p}
	q := &Request{Who: Identity{Account: "bob", Admin: true}, Action: GetObject, Bucket: "b", Key: "data/some/key/of/usual/length", Context: map[string][]string{"aws:sourceip": {"10.1.2.3"}}}
	b.ReportAllocs()
	for b.Loop() {
		if !r.Allows(q) {
			b.Fatal("denied")
		}
	}
}
