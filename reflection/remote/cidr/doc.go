// Package cidr tells at which address one cluster reaches what another knows under its own. What comes out can be
// routed: it is never a loopback, link-local or multicast address. Nothing here does I/O.
package cidr
