// Package namespacemap keeps the promise that a namespace has a twin on exactly the clusters that its
// NamespaceOffloading selects, that what is somebody else's is never touched on the way, and that whoever waits can
// read for what.
//
// Three reconcilers run at home, in the controller-manager: [Offloadings] turns each NamespaceOffloading into keys of
// NamespaceMaps and the answers of the agents into its status; [Maps] keeps one NamespaceMap per provider for as long
// as it is needed, and with it the provider's VirtualNodes; [Quick] makes a NamespaceOffloading of a label. Two run in
// every agent: [Twins] turns the keys of its provider's NamespaceMap into namespaces there, [Reports] says in the map
// what stands in the way of reflection into them. They talk through the API server only, each writes single keys of
// maps, and each can be killed at any line: what is left undone is found again in the objects themselves.
package namespacemap
