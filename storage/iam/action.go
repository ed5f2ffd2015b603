package iam

import "strings"

// actions are those of S3 that a bucket policy may name (Service Authorization
// Reference, "Actions defined by Amazon S3", as far as they concern buckets and objects).
var actions = strings.Fields(`
AbortMultipartUpload BypassGovernanceRetention CreateBucket DeleteBucket DeleteBucketOwnershipControls
DeleteBucketPolicy DeleteBucketWebsite DeleteObject DeleteObjectTagging DeleteObjectVersion
DeleteObjectVersionTagging GetAccelerateConfiguration GetAnalyticsConfiguration GetBucketAcl GetBucketCORS
GetBucketLocation GetBucketLogging GetBucketNotification GetBucketObjectLockConfiguration
GetBucketOwnershipControls GetBucketPolicy GetBucketPolicyStatus GetBucketPublicAccessBlock
GetBucketRequestPayment GetBucketTagging GetBucketVersioning GetBucketWebsite GetEncryptionConfiguration
GetIntelligentTieringConfiguration GetInventoryConfiguration GetLifecycleConfiguration
GetMetricsConfiguration GetObject GetObjectAcl GetObjectAttributes GetObjectLegalHold GetObjectRetention
GetObjectTagging GetObjectTorrent GetObjectVersion GetObjectVersionAcl GetObjectVersionAttributes
GetObjectVersionForReplication GetObjectVersionTagging GetObjectVersionTorrent
GetReplicationConfiguration InitiateReplication ListAllMyBuckets ListBucket ListBucketMultipartUploads
ListBucketVersions ListMultipartUploadParts ObjectOwnerOverrideToBucketOwner
PutAccelerateConfiguration PutAnalyticsConfiguration PutBucketAcl PutBucketCORS PutBucketLogging
PutBucketNotification PutBucketObjectLockConfiguration PutBucketOwnershipControls PutBucketPolicy
PutBucketPublicAccessBlock PutBucketRequestPayment PutBucketTagging PutBucketVersioning
PutBucketWebsite PutEncryptionConfiguration PutIntelligentTieringConfiguration
PutInventoryConfiguration PutLifecycleConfiguration PutMetricsConfiguration PutObject PutObjectAcl
PutObjectLegalHold PutObjectRetention PutObjectTagging PutObjectVersionAcl PutObjectVersionTagging
PutReplicationConfiguration ReplicateDelete ReplicateObject ReplicateTags RestoreObject`)

// lowerActions are the actions as patterns compare them: S3 does not look at case.
var lowerActions = func() []string {
	out := make([]string, len(actions))
	for i, a := range actions {
		out[i] = "s3:" + strings.ToLower(a)
	}
	return out
}()

// parseAction reads an action's pattern, and says whether S3 has any such action.
func parseAction(s string) (pattern, bool) {
	if s == "*" {
		return parsePattern("*", true, false), true
	}
	p := parsePattern(strings.ToLower(s), true, false)
	for _, a := range lowerActions {
		if p.match(a, nil) {
			return p, true
		}
	}
	return p, false
}

// conditionKeys are those of S3 that a bucket policy may name (Service Authorization
// Reference, "Condition keys for Amazon S3"). Keys of aws: are not checked: a key that
// no request has is one that is missing.
var conditionKeys = func() map[string]bool {
	out := map[string]bool{}
	for k := range strings.FieldsSeq(`
authtype delimiter locationconstraint max-keys object-lock-legal-hold object-lock-mode
object-lock-remaining-retention-days object-lock-retain-until-date prefix signatureage
signatureversion tlsversion versionid resourceaccount dataaccesspointaccount dataaccesspointarn
accesspointnetworkorigin if-match if-none-match objectcreationoperation
x-amz-acl x-amz-content-sha256 x-amz-copy-source x-amz-grant-full-control x-amz-grant-read
x-amz-grant-read-acp x-amz-grant-write x-amz-grant-write-acp x-amz-metadata-directive
x-amz-object-ownership x-amz-server-side-encryption x-amz-server-side-encryption-aws-kms-key-id
x-amz-server-side-encryption-customer-algorithm x-amz-storage-class x-amz-website-redirect-location
existingobjecttag requestobjecttag requestobjecttagkeys inventoryaccessibleoptionalfields
existing-object-storage-class`) {
		out["s3:"+k] = true
	}
	return out
}()

func knownKey(key string) bool {
	if strings.HasPrefix(key, "aws:") {
		return true
	}
	head, _, tag := strings.Cut(key, "/")
	return conditionKeys[head] && tag == (head == "s3:existingobjecttag" || head == "s3:requestobjecttag")
}
