package agent

import (
	"net/url"
	"strings"
)

// readable is where readers find an artifact, from what the queue says of it. The first queue puts names into the URL as they
// are: with a "?", a "#" or a "%" in one, the URL would lead elsewhere. A queue that escapes them never gives such a URL.
func readable(artifactURL, name string) string {
	front, raw := strings.CutSuffix(artifactURL, "/"+name)
	if !raw || !strings.ContainsAny(name, "?#%") || strings.ContainsAny(front, "?#") {
		return artifactURL
	}
	return front + (&url.URL{Path: "/" + name}).EscapedPath()
}
