package storage

import "time"

// Limits that both protocols' clients know (S3: "Amazon S3 multipart upload limits").
const (
	PartsMax     = 10_000
	PartBytesMin = 5 << 20
)

// Upload is one that was begun.
type Upload struct {
	Key   string
	ID    string
	Begun time.Time
	Meta  Meta
}

// Part is one that was stored.
type Part struct {
	Number   int
	Size     int64
	ETag     string
	Modified time.Time
	// Checksums as the part's PutOptions.Meta had them.
	Checksums map[string]string
}

// PartRef names a part for Complete. ETag and Checksums must be the part's; "" and nil
// do not ask.
type PartRef struct {
	Number    int
	ETag      string
	Checksums map[string]string
}
