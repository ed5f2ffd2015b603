package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Stream encodes data as an aws-chunked body, in chunks of a size, as a client does. It
// follows Sign with the same payload and time, whose signature begins the chain. Trailers
// are written and signed as the payload has it.
func (s Signer) Stream(r *http.Request, payload string, now time.Time, data []byte, chunk int, trailers Query) []byte {
	now = now.UTC()
	day := now.Format(shortDate)
	c := &Chunks{key: s.key(day)}
	c.prefix = append(now.AppendFormat(nil, longDate), '\n')
	c.prefix = append(appendScope(c.prefix, day, s.Region, "s3"), '\n')
	_, c.last, _ = strings.Cut(r.Header.Get("Authorization"), "Signature=")
	signed := payload != UnsignedTrailer
	var out []byte
	for last := false; !last; {
		n := min(chunk, len(data))
		last = n == 0
		out = strconv.AppendInt(out, int64(n), 16)
		if signed {
			sum := sha256.Sum256(data[:n])
			_ = c.prove("AWS4-HMAC-SHA256-PAYLOAD", "", []byte(Empty+"\n"+hex.EncodeToString(sum[:]))) // only for c.last
			out = append(out, ";chunk-signature="+c.last...)
		}
		out = append(out, "\r\n"...)
		if !last {
			out = append(append(out, data[:n]...), "\r\n"...)
		}
		data = data[n:]
	}
	var text []byte
	for _, t := range trailers {
		out = append(out, t.Key+":"+t.Value+"\r\n"...)
		text = append(text, strings.ToLower(t.Key)+":"+t.Value+"\n"...)
	}
	if signed && payload == StreamTrailer {
		sum := sha256.Sum256(text)
		_ = c.prove("AWS4-HMAC-SHA256-TRAILER", "", []byte(hex.EncodeToString(sum[:]))) // only for c.last
		out = append(out, trailerSignature+":"+c.last+"\r\n"...)
	}
	return append(out, "\r\n"...)
}
