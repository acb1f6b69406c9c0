// Package docs holds pages for people; its tests see to it that these do not say what is not so.
package docs
