package dataset

import (
	"encoding/json"
	"fmt"
)

// Source is something that is copied to a directory before a program starts. It is what
// controllers tell the program that copies.
type Source struct {
	// Dir is where the files go.
	Dir    string `json:"dir"`
	Bucket string `json:"bucket"`
	Prefix string `json:"prefix,omitempty"`
	// Manifest is the key of a data set's manifest in the bucket, and Digest its name. With
	// them what is copied is what the manifest says, or nothing.
	Manifest string `json:"manifest,omitempty"`
	Digest   string `json:"digest,omitempty"`
}

// EncodeSources is what DecodeSources reads.
func EncodeSources(list []Source) string {
	b, err := json.Marshal(list)
	if err != nil {
		panic("dataset: a list of strings cannot fail to encode: " + err.Error())
	}
	return string(b)
}

// DecodeSources reads what EncodeSources wrote.
func DecodeSources(s string) ([]Source, error) {
	var out []Source
	if err := json.Unmarshal([]byte(s), &out); err != nil {
		return nil, fmt.Errorf("reading what is to be copied: %w", err)
	}
	for i, o := range out {
		if o.Dir == "" || o.Bucket == "" || (o.Manifest == "") != (o.Digest == "") {
			return nil, fmt.Errorf("source %d to be copied is not complete", i)
		}
	}
	return out, nil
}
