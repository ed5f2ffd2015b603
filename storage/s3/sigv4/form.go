package sigv4

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"time"
)

// ParseForm reads who signed the policy of a browser's form ("Authenticating requests in
// browser-based uploads using POST"), by the names of its fields in lower case. It
// returns nil where nobody did.
func ParseForm(field func(string) string) (*Auth, error) {
	bad := func(why string) (*Auth, error) { return nil, fmt.Errorf("%w: %s", ErrForm, why) }
	a := &Auth{}
	switch {
	case field("x-amz-algorithm") != "" || field("x-amz-credential") != "" || field("x-amz-signature") != "":
		if field("x-amz-algorithm") != algorithm {
			return bad("x-amz-algorithm must be " + algorithm)
		}
		if err := a.scope(field("x-amz-credential")); err != nil {
			return bad("x-amz-credential: " + err.Error())
		}
		var err error
		if a.Time, err = time.Parse(longDate, field("x-amz-date")); err != nil {
			return bad("x-amz-date must be of the form YYYYMMDDTHHMMSSZ")
		}
		if a.Time.Format(shortDate) != a.day {
			return bad("x-amz-date is of another day than x-amz-credential")
		}
		a.signature = field("x-amz-signature")
	case field("awsaccesskeyid") != "" || field("signature") != "":
		a.AccessKey, a.signature, a.two = field("awsaccesskeyid"), field("signature"), true
	case field("policy") != "":
		return bad("there is a policy, and no signature")
	default:
		return nil, nil
	}
	if a.AccessKey == "" || a.signature == "" {
		return bad("access key or signature is missing")
	}
	if field("policy") == "" {
		return bad("there is a signature, and no policy")
	}
	return a, nil
}

// VerifyForm proves that whoever signed a form's policy, as it was sent, has the secret.
// Until when is the policy's to say.
func (a *Auth) VerifyForm(policy, secret string, keys *Keys) error {
	want := signForm2(policy, secret)
	if !a.two {
		a.key = keys.derive(a.AccessKey, secret, a.day, a.region, a.service)
		want = macHex(&a.key, []byte(policy))
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(a.signature)) != 1 {
		return fmt.Errorf("%w: check the secret key and the way the policy is signed", ErrSignature)
	}
	return nil
}

func signForm2(policy, secret string) string {
	h := hmac.New(sha1.New, []byte(secret))
	_, _ = h.Write([]byte(policy)) // a hash never fails
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// Credential is what x-amz-credential says on a day; a form's policy must name it.
func (s Signer) Credential(now time.Time) string {
	return s.AccessKey + "/" + string(appendScope(nil, now.UTC().Format(shortDate), s.Region, "s3"))
}

// SignForm returns the fields that authorise a form: all but those of the policy's own.
func (s Signer) SignForm(policy string, now time.Time) map[string]string {
	now = now.UTC()
	key := deriveKey(s.Secret, now.Format(shortDate), s.Region, "s3")
	return map[string]string{
		"policy": policy, "x-amz-algorithm": algorithm, "x-amz-credential": s.Credential(now),
		"x-amz-date": now.Format(longDate), "x-amz-signature": macHex(&key, []byte(policy)),
	}
}

// SignForm2 is SignForm in Version 2.
func (s Signer) SignForm2(policy string) map[string]string {
	return map[string]string{"policy": policy, "AWSAccessKeyId": s.AccessKey, "signature": signForm2(policy, s.Secret)}
}
