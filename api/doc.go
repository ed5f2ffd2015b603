// Package api is the language of the house: the kinds of group polder.dev and
// the rules their fields obey. It holds no behaviour. Everybody may import it;
// it imports nothing of ours and, of others, only k8s.io/apimachinery and
// k8s.io/api.
package api
