package token

import (
	"fmt"
	"regexp"
)

var tagged = regexp.MustCompile(`\(stream ([0-9]+-[0-9]+)\)`)

// Prompt is a question with a tag in it, by which whoever is asked in the end knows the stream that asks.
func Prompt(tag string) string {
	return fmt.Sprintf("Say what there is to say. (stream %s)", tag)
}

// FindTag returns the tag of the question that is somewhere in a request; empty if there is none.
func FindTag(request []byte) string {
	found := tagged.FindSubmatch(request)
	if found == nil {
		return ""
	}
	return string(found[1])
}
