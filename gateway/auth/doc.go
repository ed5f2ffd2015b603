// Package auth finds out who asks the gateway, and whether they may. Only system imports
// it; door sees it as its Guard.
//
// Who asks is told by a key (a Secret of type polder.dev/api-key), by a token that the API
// server knows, or by a certificate of the cluster's authority. A key lets in to its own
// namespace; of others the API server is asked whether they may create infer below the
// service or route. Answers are believed for a short time. Keys go on when the API server
// is away; who has none is then told to come back.
//
// It refuses everybody else: nobody is anonymous, and a key that is short enough to be
// guessed is none. No key or token is kept, but a hash of it.
package auth
