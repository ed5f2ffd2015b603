package sigv4

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// formOf looks fields up as ParseForm wants it.
func formOf(fields map[string]string) func(string) string {
	return func(name string) string {
		for k, v := range fields {
			if strings.ToLower(k) == name {
				return v
			}
		}
		return ""
	}
}

func TestForm(t *testing.T) {
	s := Signer{AccessKey: "A", Secret: "secret", Region: "r"}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for name, make := range map[string]func() map[string]string{
		"version 4": func() map[string]string { return s.SignForm("cG9saWN5", now) },
		"version 2": func() map[string]string { return s.SignForm2("cG9saWN5") },
	} {
		t.Run(name, func(t *testing.T) {
			a, err := ParseForm(formOf(make()))
			if err != nil || a.AccessKey != "A" {
				t.Fatalf("got %+v, %v", a, err)
			}
			if err := a.VerifyForm("cG9saWN5", "secret", &Keys{}); err != nil {
				t.Error(err)
			}
			if err := a.VerifyForm("cG9saWN6", "secret", &Keys{}); !errors.Is(err, ErrSignature) {
				t.Errorf("another policy: %v", err)
			}
			if err := a.VerifyForm("cG9saWN5", "Secret", &Keys{}); !errors.Is(err, ErrSignature) {
				t.Errorf("another secret: %v", err)
			}
			for field := range make() {
				f := make()
				delete(f, field)
				if _, err := ParseForm(formOf(f)); !errors.Is(err, ErrForm) {
					t.Errorf("without %s: %v", field, err)
				}
			}
		})
	}
	if a, err := ParseForm(formOf(nil)); a != nil || err != nil {
		t.Errorf("nobody's form: %+v, %v", a, err)
	}
	late := s.SignForm("cG9saWN5", now)
	late["x-amz-date"] = "20260502T000000Z"
	if _, err := ParseForm(formOf(late)); !errors.Is(err, ErrForm) {
		t.Errorf("of another day: %v", err)
	}
}

func FuzzParseForm(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256", "A/20260501/r/s3/aws4_request", "20260501T000000Z", "aa", "", "", "cA==")
	f.Add("", "", "", "", "A", "c2ln", "cA==")
	f.Fuzz(func(t *testing.T, algorithm, credential, date, signature, key, signature2, policy string) {
		a, err := ParseForm(formOf(map[string]string{
			"x-amz-algorithm": algorithm, "x-amz-credential": credential, "x-amz-date": date, "x-amz-signature": signature,
			"awsaccesskeyid": key, "signature": signature2, "policy": policy,
		}))
		if err != nil || a == nil {
			return
		}
		if a.AccessKey == "" || a.VerifyForm(policy, "a secret that nobody knows", &Keys{}) == nil {
			t.Errorf("key %q is let in", a.AccessKey)
		}
	})
}
