// Package remote is the way to a provider: a credential that holds nothing but data, a connection whose token may
// change while it is in use, and its health in a sentence.
//
// A kubeconfig is somebody else's input. It can name programs to run, files to read and addresses to send our token
// to, so [Parse] accepts only the address, the pinned certificate authority and inline credentials, and says in one
// sentence what it refuses.
package remote
