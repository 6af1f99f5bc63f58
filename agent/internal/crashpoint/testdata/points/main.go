// Command points reaches three points, twice, and says so.
package main

import (
	"fmt"

	"github.com/taskcluster/upload-agent/agent/internal/crashpoint"
)

func main() {
	for range 2 {
		for _, point := range []string{"a: before", "a: written", "a: durable"} {
			crashpoint.Reach(point)
			fmt.Println(point)
		}
	}
}
