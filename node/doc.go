// Package node is the half of the engine that runs things, on every machine: the
// kubelet, containerd, gVisor, kube-proxy, the machine's network, and the
// volumes and packet filter of its pods. A room has the configuration Polder
// gives to one upstream program, and Main where that program is linked in. Only
// system imports the rooms.
package node
