// Package reflection keeps in each twin a copy of what the pods there need: Services, EndpointSlices, ConfigMaps, and
// the Secrets that they refer to.
//
// One engine serves every kind; a kind is data ([Kind]): which fields are ours, what stays at home and why. The
// engine promises, whatever the kind: an object that is not ours is never written; a write happens only for a real
// difference; a copy that others changed or deleted is put right; nothing is deleted on the word of an unsynced
// cache.
package reflection
