// Package containers gives a cluster of a playground one node whose containers are real: a kubelet, containerd and
// runc, in namespaces of their own, with an image that is made here from busybox. Nothing is downloaded, and when the
// node ends, nothing of it is left: no process, no mount, no interface, no cgroup.
//
// Its tests prove through such a node what kwok's played containers cannot prove; `make e2e-containers` runs them.
package containers
