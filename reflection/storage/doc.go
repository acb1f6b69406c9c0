// Package storage gives claims of home a volume on one provider: a PersistentVolume at home that stands for the data of
// the claim's copy there, and keeps the pods that use it on that provider.
//
// The home scheduler binds a pod only when its claims are bound, and a provider may bind a claim only when it has a
// pod. So the home volume is made as soon as the scheduler has chosen a virtual Node for the claim, after a look at
// whether the provider would take the claim, and before there is a copy. Reflection makes the copy once the claim is
// bound.
//
// What is promised: a provider that cannot have the volume says so and lets the pod go elsewhere; data are deleted only
// when the claim is gone and its volume's reclaim policy is Delete; a name is never given to another claim's data; a
// loss is told.
package storage
