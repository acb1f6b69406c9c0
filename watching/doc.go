// Package watching keeps informers going where API servers come and go.
//
// client-go's reflector waits up to a minute between attempts to list and watch, and logs them. That suits a controller
// beside its API server. Ours watch over links that are cut, and rights come a moment after the namespace is offloaded:
// so attempts that may yet succeed are repeated every few seconds, and of refusals only those are told that last. That
// nobody answers is not told here at all: the Node of a provider does, and leader election at home.
package watching
