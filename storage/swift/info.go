package swift

import (
	"encoding/json"
	"fmt"
	"net/http"

	"polder.dev/polder/storage"
	"polder.dev/polder/storage/manifest"
	"polder.dev/polder/storage/naming"
)

// The limits of Swift's own configuration.
const (
	metaNameMax     = 128
	metaValueMax    = 256
	metaCountMax    = 90
	metaBytesMax    = 4096
	headerBytesMax  = 8192
	bulkDeletesMax  = 10_000
	bulkFailuresMax = 1000
)

// infoRequest tells what this door can do; clients, and Swift's tests, read it.
func (c *call) infoRequest() error {
	if c.method() != http.MethodGet && c.method() != http.MethodHead && c.method() != http.MethodOptions {
		return refuse(405).with("Allow", "GET, HEAD, OPTIONS")
	}
	if c.q.has("swiftinfo_sig") || c.q.has("swiftinfo_expires") {
		return refuse(403) // there is no more for administrators
	}
	if c.method() == http.MethodOptions {
		c.w.Header().Set("Allow", "HEAD, GET, OPTIONS")
		c.answer(200, "")
		return nil
	}
	b, err := json.Marshal(c.h.info())
	if err != nil {
		return fmt.Errorf("writing /info: %w", err)
	}
	c.w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	c.w.Header().Set("Content-Length", decimal(int64(len(b))))
	c.answer(200, string(b))
	return nil
}

type fields map[string]any

func (h *Handler) info() fields {
	var policies []fields
	for i, p := range h.cfg.Policies {
		f := fields{"name": p.Name, "aliases": p.Name}
		for _, a := range p.Aliases {
			f["aliases"] = f["aliases"].(string) + ", " + a
		}
		if i == 0 {
			f["default"] = true
		}
		if !p.Deprecated {
			policies = append(policies, f)
		}
	}
	digests := []string{"sha1", "sha256", "sha512"}
	out := fields{
		"swift": fields{
			"version": "2.30.1", "strict_cors_mode": true, "policies": policies,
			"allow_account_management": true, "account_autocreate": true,
			"max_file_size": h.cfg.ObjectBytesMax, "max_meta_name_length": metaNameMax, "max_meta_value_length": metaValueMax,
			"max_meta_count": metaCountMax, "max_meta_overall_size": metaBytesMax, "max_header_size": headerBytesMax,
			"max_object_name_length": storage.KeyBytesMax, "container_listing_limit": storage.PageMax,
			"account_listing_limit": storage.PageMax, "max_account_name_length": 256,
			"max_container_name_length": naming.ContainerNameBytesMax, "extra_header_count": 0,
		},
		"symlink":           fields{"symloop_max": manifest.LinksMax, "static_links": true},
		"versioned_writes":  fields{"allowed_flags": []string{"x-versions-location", "x-history-location"}},
		"object_versioning": fields{},
		"slo": fields{
			"max_manifest_segments": manifest.SegmentsMax, "max_manifest_size": manifest.BytesMax,
			"yield_frequency": int(heartbeat.Seconds()), "min_segment_size": 1, "allow_async_delete": true,
		},
		"dlo":              fields{"max_segments": storage.PageMax},
		"account_quotas":   fields{},
		"container_quotas": fields{},
		"formpost":         fields{"allowed_digests": digests, "deprecated_digests": digests[:1]},
		"staticweb":        fields{},
		"tempauth":         fields{"account_acls": true},
		"s3api": fields{
			"max_bucket_listing": 1000, "max_parts_listing": 1000, "max_upload_part_num": storage.PartsMax,
			"max_multi_delete_objects": 1000, "allow_multipart_uploads": true, "min_segment_size": storage.PartBytesMin, "s3_acl": true,
		},
		"crossdomain": fields{},
		"ratelimit": fields{
			"account_ratelimit": 0.0, "max_sleep_time_seconds": 60.0, "container_ratelimits": []any{}, "container_listing_ratelimits": []any{},
		},
		"tempurl": fields{
			"methods": tempMethods, "incoming_remove_headers": []string{"x-timestamp"}, "incoming_allow_headers": []string{},
			"outgoing_remove_headers": []string{"x-object-meta-*"}, "outgoing_allow_headers": []string{"x-object-meta-public-*"},
			"allowed_digests": digests, "deprecated_digests": digests[:1],
		},
		"bulk_upload":     fields{"max_containers_per_extraction": bulkDeletesMax, "max_failed_extractions": bulkFailuresMax},
		"bulk_delete":     fields{"max_deletes_per_request": bulkDeletesMax, "max_failed_deletes": bulkFailuresMax},
		"etag_quoter":     fields{"enable_by_default": false},
		"read_only":       fields{},
		"listing_formats": fields{},
	}
	if h.cfg.Forbidden != "" {
		out["name_check"] = fields{"forbidden_chars": h.cfg.Forbidden, "maximum_length": storage.KeyBytesMax}
	}
	if !h.cfg.ReadOnly {
		delete(out, "read_only")
	}
	if len(h.cfg.Domains) > 0 {
		out["domain_remap"] = fields{"default_reseller_prefix": nil}
	}
	return out
}
