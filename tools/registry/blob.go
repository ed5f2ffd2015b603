package main

import (
	"io"
	"net/http"

	"polder.dev/polder/internal/bulk"
)

// upload is the body of a request with a part of a blob. Who stores it hashes it, and
// more is received and decrypted meanwhile.
type upload struct{ io.ReadCloser }

// WriteTo implements io.WriterTo. What was received before an error is written.
func (u upload) WriteTo(w io.Writer) (int64, error) { return bulk.Copy(u.ReadCloser, w) }

// download is the answer with a blob, which is read while it is encrypted and sent.
type download struct {
	http.ResponseWriter
	body *bulk.Writer
}

func newDownload(w http.ResponseWriter) *download { return &download{w, bulk.NewWriter(w)} }

// Write implements http.ResponseWriter.
func (d *download) Write(b []byte) (int, error) { return d.body.Write(b) }

// Unwrap is for http.ResponseController.
func (d *download) Unwrap() http.ResponseWriter { return d.ResponseWriter }

// end sends what is left. The answer tells its length: what is missing, the client sees.
func (d *download) end() { _ = d.body.Flush() }
