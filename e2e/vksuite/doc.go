// Package vksuite runs the provider conformance suite of the virtual-kubelet project, unmodified, against our agent as
// a real process between two real clusters. It has no code of its own; see the tests.
package vksuite
