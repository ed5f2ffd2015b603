package s3

import (
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
)

// Settings that are kept as the XML which their client sent, read and written anew.

const (
	labelWebsite    = "s3.website"
	labelEncryption = "s3.encryption"
)

// keepXML stores a setting.
func (q *request) keepXML(label string, v any) error {
	b, err := xml.Marshal(v)
	if err != nil {
		return err
	}
	if err := q.setLabel(label, string(b)); err != nil {
		return err
	}
	return q.status(http.StatusOK)
}

// replyKept answers with a setting, or with an error of a code where there is none.
func (q *request) replyKept(label, code string) error {
	text := q.label(label)
	if text == "" {
		return fail(code, "The bucket has no such configuration.")
	}
	x := newXML()
	x.b.WriteString(text)
	return q.reply(x)
}

// dropKept takes a setting away.
func (q *request) dropKept(label string) error {
	if err := q.setLabel(label, ""); err != nil {
		return err
	}
	return q.status(http.StatusNoContent)
}

type websiteXML struct {
	XMLName  xml.Name `xml:"WebsiteConfiguration"`
	Space    string   `xml:"xmlns,attr"`
	Redirect *struct {
		HostName string
		Protocol string `xml:",omitempty"`
	} `xml:"RedirectAllRequestsTo"`
	Index *struct{ Suffix string } `xml:"IndexDocument"`
	Error *struct{ Key string }    `xml:"ErrorDocument"`
	Rules []routingRule            `xml:"RoutingRules>RoutingRule"`
}

func (q *request) website() error { return q.replyKept(labelWebsite, "NoSuchWebsiteConfiguration") }

// putWebsite implements PutBucketWebsite; page serves what it says.
func (q *request) putWebsite() error {
	var f websiteXML
	if err := q.decode(&f); err != nil {
		return err
	}
	switch {
	case f.Redirect != nil && (f.Index != nil || f.Error != nil || len(f.Rules) > 0):
		return fail("InvalidArgument", "RedirectAllRequestsTo cannot be provided in conjunction with other elements.")
	case f.Redirect != nil && f.Redirect.HostName == "":
		return fail("InvalidArgument", "RedirectAllRequestsTo needs a HostName.")
	case f.Redirect == nil && (f.Index == nil || f.Index.Suffix == "" || strings.Contains(f.Index.Suffix, "/")):
		return fail("InvalidArgument", "IndexDocument needs a Suffix without slashes.")
	case f.Error != nil && f.Error.Key == "":
		return fail("InvalidArgument", "ErrorDocument needs a Key.")
	case f.Redirect != nil && f.Redirect.Protocol != "" && f.Redirect.Protocol != "http" && f.Redirect.Protocol != "https":
		return badProtocol(f.Redirect.Protocol)
	case len(f.Rules) > rulesOfSiteMax:
		return fail("InvalidRequest", "There are %d routing rules, and at most %d are taken.", len(f.Rules), rulesOfSiteMax)
	}
	for i := range f.Rules {
		if err := f.Rules[i].wrong(); err != nil {
			return err
		}
	}
	f.Space = xmlns
	f.XMLName.Space = ""
	return q.keepXML(labelWebsite, f)
}

func (q *request) deleteWebsite() error { return q.dropKept(labelWebsite) }

type encryptionXML struct {
	XMLName xml.Name `xml:"ServerSideEncryptionConfiguration"`
	Space   string   `xml:"xmlns,attr"`
	Rule    []struct {
		Default *struct {
			SSEAlgorithm   string
			KMSMasterKeyID string `xml:",omitempty"`
		} `xml:"ApplyServerSideEncryptionByDefault"`
		BucketKeyEnabled *bool
	}
}

func (q *request) encryption() error {
	return q.replyKept(labelEncryption, "ServerSideEncryptionConfigurationNotFoundError")
}

func (q *request) putEncryption() error {
	var f encryptionXML
	if err := q.decode(&f); err != nil {
		return err
	}
	if len(f.Rule) != 1 || f.Rule[0].Default == nil {
		return fail("MalformedXML", "ServerSideEncryptionConfiguration needs one Rule with ApplyServerSideEncryptionByDefault.")
	}
	switch d := f.Rule[0].Default; {
	case d.SSEAlgorithm != "AES256" && d.SSEAlgorithm != "aws:kms":
		return fail("MalformedXML", "SSEAlgorithm must be AES256 or aws:kms, not %q.", d.SSEAlgorithm)
	case d.SSEAlgorithm == "AES256" && d.KMSMasterKeyID != "":
		return fail("InvalidArgument", "A KMSMasterKeyID goes with aws:kms only.")
	}
	if q.s.keyring == nil {
		return noKeys()
	}
	f.Space = xmlns
	f.XMLName.Space = ""
	return q.keepXML(labelEncryption, f)
}

func (q *request) deleteEncryption() error { return q.dropKept(labelEncryption) }

// notification answers that nothing is sent anywhere.
func (q *request) notification() error {
	return q.reply(newXML().root("NotificationConfiguration").close("NotificationConfiguration"))
}

// putNotification takes a configuration that asks for nothing.
func (q *request) putNotification() error {
	var f struct {
		XMLName xml.Name `xml:"NotificationConfiguration"`
		Any     []struct {
			XMLName xml.Name
		} `xml:",any"`
	}
	if err := q.decode(&f); err != nil {
		return err
	}
	if len(f.Any) > 0 {
		return fail("NotImplemented", "This server sends no notifications; %s cannot be set.", f.Any[0].XMLName.Local)
	}
	return q.status(http.StatusOK)
}

// payment answers that a bucket's owner pays.
func (q *request) payment() error {
	return q.reply(newXML().root("RequestPaymentConfiguration").text("Payer", "BucketOwner").close("RequestPaymentConfiguration"))
}

func (q *request) putPayment() error {
	var f struct {
		XMLName xml.Name `xml:"RequestPaymentConfiguration"`
		Payer   string
	}
	if err := q.decode(&f); err != nil {
		return err
	}
	switch f.Payer {
	case "BucketOwner":
		return q.status(http.StatusOK)
	case "Requester":
		return fail("NotImplemented", "Here the bucket's owner pays; Requester cannot be set.")
	}
	return fail("MalformedXML", "Payer must be BucketOwner or Requester, not %s.", strconv.Quote(f.Payer))
}
