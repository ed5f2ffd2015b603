package s3

import "net/http"

// Configurations of S3 that mean nothing here. Programs that look after buckets ask for
// all of them: they are told, as S3 tells it, that a bucket has none. To set one is
// NotImplemented.

// accelerate answers GetBucketAccelerateConfiguration: never set.
func (q *request) accelerate() error {
	return q.reply(newXML().root("AccelerateConfiguration").close("AccelerateConfiguration"))
}

// replication answers GetBucketReplication.
func (q *request) replication() error {
	return fail("ReplicationConfigurationNotFoundError", "The replication configuration was not found.")
}

func (q *request) deleteReplication() error { return q.status(http.StatusNoContent) }

// unusedLists are the roots of listings of what a bucket may have several of, each with
// an id, by the parameter that asks for them.
var unusedLists = map[string]string{
	"analytics":           "ListBucketAnalyticsConfigurationResult",
	"intelligent-tiering": "ListBucketIntelligentTieringConfigurationsOutput",
	"inventory":           "ListInventoryConfigurationsResult",
	"metrics":             "ListMetricsConfigurationsResult",
}

// unused answers Get and List of these: there is none.
func (q *request) unused() error {
	if q.query.Has("id") {
		return q.noConfiguration()
	}
	root := unusedLists[q.op.param]
	return q.reply(newXML().root(root).flag("IsTruncated", false).close(root))
}

// noConfiguration answers Delete of one of these.
func (q *request) noConfiguration() error {
	return fail("NoSuchConfiguration", "The specified configuration does not exist.")
}
