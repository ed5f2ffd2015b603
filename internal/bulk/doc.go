// Package bulk moves large bodies between disks and connections. To read, to hash, to
// encrypt and to write take about as long as each other, so they are done at the same
// time, and the kernel is asked for much at once. Who moves models, images and blobs
// may import it. What a Writer was given is not said to be written before all of its
// stages have it. It verifies, retries and syncs nothing: that is up to who knows what
// the bytes are.
package bulk
