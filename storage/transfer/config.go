package transfer

import (
	"fmt"
	"os"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Config says where a store is and who asks.
type Config struct {
	// Endpoint is the store's URL, http or https.
	Endpoint string
	// Region that requests are signed for; "" is us-east-1.
	Region string
	// Keys; without AccessKey requests are not signed.
	AccessKey, SecretKey, SessionToken string
	// CA holds certificates in PEM that are believed beside the system's.
	CA []byte

	// Parallel bounds the requests at once; 0 is 8.
	Parallel int
	// PartBytes is the size of a part of a large object, at least PartBytesMin; 0 is
	// 32 MiB. What is at most twice as large is moved in one request.
	PartBytes int64
	// StateDir keeps what is needed to go on with uploads; "" is a directory of the
	// user's cache.
	StateDir string
	// Backoff before a request is repeated for the first time; 0 is half a second.
	Backoff time.Duration
}

// PartBytesMin is S3's smallest part, but for the last.
const PartBytesMin = 5 << 20

const (
	parallelDefault  = 8
	parallelMax      = 256
	partBytesDefault = 32 << 20
	partBytesMax     = 5 << 30
)

func (c *Config) fill() error {
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.Parallel == 0 {
		c.Parallel = parallelDefault
	}
	if c.PartBytes == 0 {
		c.PartBytes = partBytesDefault
	}
	if c.Backoff == 0 {
		c.Backoff = 500 * time.Millisecond
	}
	if c.Parallel < 1 || c.Parallel > parallelMax {
		return fmt.Errorf("%d requests at once are not possible; 1 to %d are", c.Parallel, parallelMax)
	}
	if c.PartBytes < PartBytesMin || c.PartBytes > partBytesMax {
		return fmt.Errorf("parts of %d bytes are not possible; S3 allows %d to %d", c.PartBytes, PartBytesMin, int64(partBytesMax))
	}
	return nil
}

// Environment reads what the AWS tools' variables say, with endpoint in place of theirs
// if it is not empty, and then the files of the AWS tools. Fields that nobody sets stay
// empty. A certificate file that cannot be read is an error.
func Environment(getenv func(string) string, endpoint, caFile string) (Config, error) {
	c := Config{
		Endpoint: first(endpoint, getenv("AWS_ENDPOINT_URL_S3"), getenv("AWS_ENDPOINT_URL")),
		Region:   first(getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION")),
	}
	if id, secret := getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_SECRET_ACCESS_KEY"); id != "" && secret != "" {
		c.AccessKey, c.SecretKey, c.SessionToken = id, secret, getenv("AWS_SESSION_TOKEN")
	} else if v, err := credentials.NewFileAWSCredentials("", "").GetWithContext(nil); err == nil && v.SecretAccessKey != "" {
		c.AccessKey, c.SecretKey, c.SessionToken = v.AccessKeyID, v.SecretAccessKey, v.SessionToken
	}
	if file := first(caFile, getenv("AWS_CA_BUNDLE")); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return Config{}, fmt.Errorf("reading certificates: %w", err)
		}
		c.CA = pem
	}
	return c, nil
}

func first(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}
