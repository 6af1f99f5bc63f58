package upload

import (
	"errors"
	"fmt"
	"io"
)

// Head reads the first n bytes of the source, or all of it if it is shorter: enough to tell its type.
func (s Source) Head(n int) ([]byte, error) {
	c, err := s.opened()
	if err != nil {
		return nil, err
	}
	head := make([]byte, min(int64(n), c.size))
	read, err := c.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrSource, err), c.close())
	}
	return head[:read], c.close()
}
