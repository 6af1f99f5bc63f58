package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/taskcluster/upload-agent/schema"
)

// makeStateFolder makes the folder of one run below dir, or a temporary one if dir is "".
// Only its owner can read it: logs may hold what is nobody else's business.
func makeStateFolder(dir string, c schema.Claim) (string, error) {
	name := fmt.Sprintf("%s-%d", c.Task(), c.RunID)
	if dir == "" {
		made, err := os.MkdirTemp("", "upload-agent-"+name+"-")
		if err != nil {
			return "", fmt.Errorf("make state folder: %w", err)
		}
		return made, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make state folder: %w", err)
	}
	path := filepath.Join(dir, name)
	err := os.Mkdir(path, 0o700)
	switch {
	case errors.Is(err, os.ErrExist):
		return "", fmt.Errorf("make state folder: %s exists: another agent works on this run, or one has died; remove it if none does", path)
	case err != nil:
		return "", fmt.Errorf("make state folder: %w", err)
	}
	return path, nil
}
