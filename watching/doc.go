// Package watching keeps informers going where API servers come and go.
//
// client-go's reflector waits up to a minute between attempts to list and watch, and logs each. That suits a controller
// beside its API server. Ours watch over links that are cut, and rights come a moment after the namespace is offloaded:
// so attempts that may yet succeed are repeated every few seconds, and a word is said only of what lasts.
package watching
