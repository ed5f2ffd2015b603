package s3

import "polder.dev/polder/storage/iam"

// operation is one line of the table.
type operation struct {
	level  level
	method string
	// param is the query parameter that tells the operation from others; with "+copy"
	// behind it if the request must have x-amz-copy-source as well.
	param string
	name  string // in the S3 API Reference
	// action must be allowed for the bucket before the operation begins. Where it is "",
	// the operation asks for itself, because an object's ACL or a version has its say.
	action iam.Action
	do     func(*request) error
	// makes says that the bucket need not be there.
	makes bool
}

// table has every operation that is served. What S3 knows besides is in unserved.
var table = []operation{
	{service, "GET", "", "ListBuckets", "", (*request).listBuckets, false},

	{bucket, "PUT", "", "CreateBucket", "", (*request).createBucket, true},
	{bucket, "HEAD", "", "HeadBucket", "s3:ListBucket", (*request).headBucket, false},
	{bucket, "DELETE", "", "DeleteBucket", "s3:DeleteBucket", (*request).deleteBucket, false},
	{bucket, "GET", "location", "GetBucketLocation", "s3:GetBucketLocation", (*request).location, false},
	{bucket, "GET", "versioning", "GetBucketVersioning", "s3:GetBucketVersioning", (*request).getVersioning, false},
	{bucket, "PUT", "versioning", "PutBucketVersioning", "s3:PutBucketVersioning", (*request).putVersioning, false},
	{bucket, "GET", "", "ListObjects", iam.ListBucket, (*request).listObjects, false},
	{bucket, "GET", "list-type", "ListObjectsV2", iam.ListBucket, (*request).listObjects2, false},
	{bucket, "GET", "versions", "ListObjectVersions", "s3:ListBucketVersions", (*request).listVersions, false},
	{bucket, "GET", "uploads", "ListMultipartUploads", "s3:ListBucketMultipartUploads", (*request).listUploads, false},
	{bucket, "POST", "delete", "DeleteObjects", "", (*request).deleteObjects, false},

	{object, "GET", "", "GetObject", "", (*request).getObject, false},
	{object, "HEAD", "", "HeadObject", "", (*request).getObject, false},
	{object, "PUT", "", "PutObject", iam.PutObject, (*request).putObject, false},
	{object, "PUT", "+copy", "CopyObject", iam.PutObject, (*request).copyObject, false},
	{object, "DELETE", "", "DeleteObject", "", (*request).deleteObject, false},
	{object, "GET", "attributes", "GetObjectAttributes", "", (*request).attributes, false},

	{object, "POST", "uploads", "CreateMultipartUpload", iam.PutObject, (*request).createUpload, false},
	{object, "PUT", "uploadId", "UploadPart", iam.PutObject, (*request).uploadPart, false},
	{object, "PUT", "uploadId+copy", "UploadPartCopy", iam.PutObject, (*request).uploadPartCopy, false},
	{object, "GET", "uploadId", "ListParts", "s3:ListMultipartUploadParts", (*request).listParts, false},
	{object, "POST", "uploadId", "CompleteMultipartUpload", iam.PutObject, (*request).completeUpload, false},
	{object, "DELETE", "uploadId", "AbortMultipartUpload", "s3:AbortMultipartUpload", (*request).abortUpload, false},

	{bucket, "POST", "", "PostObject", "", (*request).postObject, false},
	{bucket, "GET", "acl", "GetBucketAcl", "s3:GetBucketAcl", (*request).bucketACL, false},
	{bucket, "PUT", "acl", "PutBucketAcl", "s3:PutBucketAcl", (*request).putBucketACL, false},
	{object, "GET", "acl", "GetObjectAcl", "", (*request).objectACL, false},
	{object, "PUT", "acl", "PutObjectAcl", "", (*request).putObjectACL, false},
	{bucket, "GET", "policy", "GetBucketPolicy", "s3:GetBucketPolicy", (*request).policy, false},
	{bucket, "PUT", "policy", "PutBucketPolicy", "s3:PutBucketPolicy", (*request).putPolicy, false},
	{bucket, "DELETE", "policy", "DeleteBucketPolicy", "s3:DeleteBucketPolicy", (*request).deletePolicy, false},
	{bucket, "GET", "policyStatus", "GetBucketPolicyStatus", "s3:GetBucketPolicyStatus", (*request).policyStatus, false},
	{bucket, "GET", "publicAccessBlock", "GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock", (*request).publicBlock, false},
	{bucket, "PUT", "publicAccessBlock", "PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock", (*request).putPublicBlock, false},
	{bucket, "DELETE", "publicAccessBlock", "DeletePublicAccessBlock", "s3:PutBucketPublicAccessBlock", (*request).deletePublicBlock, false},
	{bucket, "GET", "ownershipControls", "GetBucketOwnershipControls", "s3:GetBucketOwnershipControls", (*request).ownership, false},
	{bucket, "PUT", "ownershipControls", "PutBucketOwnershipControls", "s3:PutBucketOwnershipControls", (*request).putOwnership, false},
	{bucket, "DELETE", "ownershipControls", "DeleteBucketOwnershipControls", "s3:PutBucketOwnershipControls", (*request).deleteOwnership, false},
	{bucket, "GET", "cors", "GetBucketCors", "s3:GetBucketCORS", (*request).cors, false},
	{bucket, "PUT", "cors", "PutBucketCors", "s3:PutBucketCORS", (*request).putCORS, false},
	{bucket, "DELETE", "cors", "DeleteBucketCors", "s3:PutBucketCORS", (*request).deleteCORS, false},
	{bucket, "GET", "tagging", "GetBucketTagging", "s3:GetBucketTagging", (*request).bucketTags, false},
	{bucket, "PUT", "tagging", "PutBucketTagging", "s3:PutBucketTagging", (*request).putBucketTags, false},
	{bucket, "DELETE", "tagging", "DeleteBucketTagging", "s3:PutBucketTagging", (*request).deleteBucketTags, false},
	{object, "GET", "tagging", "GetObjectTagging", "", (*request).objectTags, false},
	{object, "PUT", "tagging", "PutObjectTagging", "", (*request).putObjectTags, false},
	{object, "DELETE", "tagging", "DeleteObjectTagging", "", (*request).deleteObjectTags, false},
	{bucket, "GET", "object-lock", "GetObjectLockConfiguration", "s3:GetBucketObjectLockConfiguration", (*request).lockConfig, false},
	{bucket, "PUT", "object-lock", "PutObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration", (*request).putLockConfig, false},
	{object, "GET", "retention", "GetObjectRetention", "", (*request).objectRetention, false},
	{object, "PUT", "retention", "PutObjectRetention", "", (*request).putObjectRetention, false},
	{object, "GET", "legal-hold", "GetObjectLegalHold", "", (*request).legalHold, false},
	{object, "PUT", "legal-hold", "PutObjectLegalHold", "", (*request).putLegalHold, false},
	{bucket, "GET", "lifecycle", "GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration", (*request).lifecycle, false},
	{bucket, "PUT", "lifecycle", "PutBucketLifecycleConfiguration", "s3:PutLifecycleConfiguration", (*request).putLifecycle, false},
	{bucket, "GET", "x-polder-tiers", "GetBucketTiers", "s3:GetLifecycleConfiguration", (*request).tiers, false},
	{bucket, "PUT", "x-polder-tiers", "PutBucketTiers", "s3:PutLifecycleConfiguration", (*request).putTiers, false},
	{bucket, "DELETE", "x-polder-tiers", "DeleteBucketTiers", "s3:PutLifecycleConfiguration", (*request).deleteTiers, false},
	{bucket, "DELETE", "lifecycle", "DeleteBucketLifecycle", "s3:PutLifecycleConfiguration", (*request).deleteLifecycle, false},
	{bucket, "GET", "website", "GetBucketWebsite", "s3:GetBucketWebsite", (*request).website, false},
	{bucket, "PUT", "website", "PutBucketWebsite", "s3:PutBucketWebsite", (*request).putWebsite, false},
	{bucket, "DELETE", "website", "DeleteBucketWebsite", "s3:DeleteBucketWebsite", (*request).deleteWebsite, false},
	{bucket, "GET", "encryption", "GetBucketEncryption", "s3:GetEncryptionConfiguration", (*request).encryption, false},
	{bucket, "PUT", "encryption", "PutBucketEncryption", "s3:PutEncryptionConfiguration", (*request).putEncryption, false},
	{bucket, "DELETE", "encryption", "DeleteBucketEncryption", "s3:PutEncryptionConfiguration", (*request).deleteEncryption, false},
	{bucket, "GET", "notification", "GetBucketNotificationConfiguration", "s3:GetBucketNotification", (*request).notification, false},
	{bucket, "PUT", "notification", "PutBucketNotificationConfiguration", "s3:PutBucketNotification", (*request).putNotification, false},
	{bucket, "GET", "logging", "GetBucketLogging", "s3:GetBucketLogging", (*request).logging, false},
	{bucket, "PUT", "logging", "PutBucketLogging", "s3:PutBucketLogging", (*request).putLogging, false},
	{bucket, "GET", "requestPayment", "GetBucketRequestPayment", "s3:GetBucketRequestPayment", (*request).payment, false},
	{bucket, "PUT", "requestPayment", "PutBucketRequestPayment", "s3:PutBucketRequestPayment", (*request).putPayment, false},
	{bucket, "GET", "accelerate", "GetBucketAccelerateConfiguration", "s3:GetAccelerateConfiguration", (*request).accelerate, false},
	{bucket, "GET", "replication", "GetBucketReplication", "s3:GetReplicationConfiguration", (*request).replication, false},
	{bucket, "DELETE", "replication", "DeleteBucketReplication", "s3:PutReplicationConfiguration", (*request).deleteReplication, false},
	{bucket, "GET", "analytics", "GetBucketAnalyticsConfiguration", "s3:GetAnalyticsConfiguration", (*request).unused, false},
	{bucket, "DELETE", "analytics", "DeleteBucketAnalyticsConfiguration", "s3:PutAnalyticsConfiguration", (*request).noConfiguration, false},
	{bucket, "GET", "intelligent-tiering", "GetBucketIntelligentTieringConfiguration", "s3:GetIntelligentTieringConfiguration", (*request).unused, false},
	{bucket, "DELETE", "intelligent-tiering", "DeleteBucketIntelligentTieringConfiguration", "s3:PutIntelligentTieringConfiguration", (*request).noConfiguration, false},
	{bucket, "GET", "inventory", "GetBucketInventoryConfiguration", "s3:GetInventoryConfiguration", (*request).unused, false},
	{bucket, "DELETE", "inventory", "DeleteBucketInventoryConfiguration", "s3:PutInventoryConfiguration", (*request).noConfiguration, false},
	{bucket, "GET", "metrics", "GetBucketMetricsConfiguration", "s3:GetMetricsConfiguration", (*request).unused, false},
	{bucket, "DELETE", "metrics", "DeleteBucketMetricsConfiguration", "s3:PutMetricsConfiguration", (*request).noConfiguration, false},
}

// unserved are parameters by which S3 tells operations apart of which some or all are not
// in the table. Without them, PUT ?replication would be the plain PUT.
var unserved = []string{
	"accelerate", "analytics", "intelligent-tiering", "inventory", "metadataConfiguration", "metadataInventoryTable",
	"metadataJournalTable", "metadataTable", "metrics", "renameObject",
	"replication", "restore", "select", "session", "torrent",
}
