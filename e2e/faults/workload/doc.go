// Package workload does what the users of a home cluster do, from a seed: two workloads of one seed ask for the same
// things in the same order, whatever the clusters answer and however long that takes. It asks with an ordinary user's
// rights, tries again what fails, and knows at every moment what must be there once everything is at rest.
//
// What it decides follows from the seed and from its own model ([Plan]), never from what a cluster says. Steps of one
// namespace happen in their order; those of different namespaces do not wait for each other, so that one namespace that
// cannot be deleted, since a provider is cut off, does not keep the others from work.
package workload
