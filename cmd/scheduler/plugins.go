//go:build !failpoints

package main

import "github.com/twinspace/twinspace/schedplugin"

// plugins returns the factories of our plugins by name.
func plugins() map[string]schedplugin.Factory { return schedplugin.Plugins() }
