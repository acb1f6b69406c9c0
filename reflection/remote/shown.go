package remote

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Shown makes a provider's text fit for a terminal, and no longer than most bytes.
func Shown(text string, most int) string {
	text = strings.Map(func(c rune) rune {
		if c == '\n' || c == '\t' || unicode.IsPrint(c) {
			return c
		}
		return ' '
	}, strings.ToValidUTF8(text, " "))
	if len(text) <= most {
		return text
	}
	const more = "..."
	cut := most - len(more)
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + more
}
