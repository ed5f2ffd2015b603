// Package firewall enforces Kubernetes' NetworkPolicies on a node with nftables.
// Every pod has a cable of its own and the node routes between them, so all traffic
// between pods, and between pods and the world, passes the forward hook of the
// cloud's network namespace, where this package's table sits. Only system imports
// it.
//
// Compile is a pure function from what the API says to a table; Firewall keeps the
// kernel's table equal to it. The table is replaced in one transaction. An address
// of the pods' range that belongs to no pod the firewall knows yet gets nothing,
// and where any policy restricts what goes out, sends nothing; nor does a pod get
// anything whose namespace lacks the policy it must have; and Close comes before
// the first pod: none is open because somebody was slow. What the node itself sends (the kubelet's probes, the
// API server's calls to webhooks) does not pass the forward hook and is allowed.
package firewall
