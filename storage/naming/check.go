package naming

import (
	"fmt"
	"net/netip"
	"strings"

	"polder.dev/polder/storage"
)

// CheckS3 says what is wrong with a bucket's name in S3, as storage.ErrInvalid (Amazon
// S3 User Guide, "General purpose bucket naming rules").
func CheckS3(name string) error {
	bad := func(why string) error { return fmt.Errorf("%w: bucket name %q %s", storage.ErrInvalid, name, why) }
	if len(name) < 3 || len(name) > 63 {
		return bad("has fewer than 3 or more than 63 characters")
	}
	for _, c := range []byte(name) {
		if !alnum(c) && c != '.' && c != '-' {
			return bad("holds other than lower-case letters, digits, dots and dashes")
		}
	}
	if !alnum(name[0]) || !alnum(name[len(name)-1]) {
		return bad("does not begin and end with a letter or digit")
	}
	if strings.Contains(name, "..") || strings.Contains(name, ".-") || strings.Contains(name, "-.") {
		return bad("has a dot beside a dot or dash")
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return bad("is an IP address")
	}
	return nil
}

func alnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// ContainerNameBytesMax is Swift's limit (constraints.max_container_name_length).
const ContainerNameBytesMax = 256

// CheckSwift says what is wrong with a container's name, or its account's.
func CheckSwift(account, name string) error {
	if account == "" || strings.ContainsAny(account, "/\x00") || strings.HasPrefix(account, ".") {
		return fmt.Errorf("%w: account name %q", storage.ErrInvalid, account)
	}
	if name == "" || len(name) > ContainerNameBytesMax || strings.Contains(name, "/") {
		return fmt.Errorf("%w: a container's name has 1 to %d bytes and no slash", storage.ErrInvalid, ContainerNameBytesMax)
	}
	return storage.CheckBucket(account + "/" + name)
}
