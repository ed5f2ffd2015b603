// Package transfer moves objects between an S3 store and this machine: it uploads,
// downloads, copies, compares and removes, many at once. The command line is its user;
// it knows neither flags nor Kubernetes, and of the store only what S3's public
// documents say, so it works with other stores too.
//
// What it promises:
//
//   - Nothing half is shown: an upload appears when it is complete, and a download gets
//     its name when it is complete and verified.
//   - What was interrupted goes on: see resume.go for uploads, partial.go for downloads.
//   - One failure does not stop the others; each is reported with its name.
//   - Memory does not grow with the number or the size of objects: plans are streams,
//     bodies pass through buffers, and Config.Parallel bounds the requests at once.
//   - It stays in the trees it was given: a link that leads out is not followed, and a
//     key that would is refused by name (os.Root, key.go).
//
// Secrets are in no error and no result. Anybody who is a client may import it.
package transfer
