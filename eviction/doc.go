// Package eviction keeps the promise that, in a namespace which asks for it, pods follow a change of policy: those that
// run where the policy no longer permits them are evicted, a few at a time, never against a PodDisruptionBudget, and
// only while another permitted node has room for them. Whoever waits can read how many are left and why.
//
// What to do is decided by pure functions: [violations] finds the pods, [room] knows where they could go, [decide] says
// whose turn it is, [condition] puts it in words. [Reconciler] reads, evicts and writes the status. Namespaces that do
// not ask for eviction cost nothing: none of their pods is ever watched or listed.
package eviction
