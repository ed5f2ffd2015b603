// Package seal keeps objects encrypted at rest. It lies between a front door and a
// bucket: bodies are sealed on their way in, and what is read is opened on its way out, so
// that tiers, caches and copies below see nothing but what lies on disks.
//
// Each object has a random data key, which is kept with the object, wrapped by another
// key (AES-256-GCM): one that the client sends with every request (Customer), or one of
// the server's (Server, Named), which a Keyring chooses by the bucket, so that each
// jurisdiction has its own. Data is in AES-256 in counter mode. It has the length of the
// plain text, so that sizes, ranges, listings and parts are what they are without it.
//
// It keeps secret what disks hold from who takes them. It proves nothing to who can write
// them: what finds damage are the store's checksums. The ETag of a sealed object is none
// of its text's MD5 and looks like none.
//
// Front doors import it, and read no bucket but through it. It refuses to keep keys: a Keyring has them, and a client's are forgotten with its request.
package seal
