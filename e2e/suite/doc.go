// Package suite holds the scenarios that a user would try by hand: three real clusters, our components with the rights
// that we ship, and the command line. It has no code of its own; see the tests.
package suite
