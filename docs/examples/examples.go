// Package examples holds applications to try, as manifests that say nothing of how they are used; their tests see to it
// that an API server takes them and that what they refer to is there.
package examples

import "embed"

// Shop is a front end, an API and a database with a volume, in folder shop.
//
//go:embed shop/*.yaml
var Shop embed.FS
