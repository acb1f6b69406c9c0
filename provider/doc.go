// Package provider makes a cluster look like one node of another: for every VirtualNode a Node with its lease, pods
// that are bound to it at home and run in the twin over there, and the kubelet endpoint by which home reaches them.
//
// It promises that a pod runs over there at most once, that a home pod leaves only after its remote pod, and that what
// home shows only moves forward. It keeps nothing that the two API servers do not also hold, so a restart at any line
// changes when things happen, never what happens. It never touches what does not carry its marks. DESIGN.md says why it
// is built as it is.
package provider
