package watch

import (
	"log/slog"
	"sync"
	"time"
)

// Hub is what the system's events of several watchers come through: a system has few of those (Linux: 128 for each user). The zero
// value is ready for use, and must not be copied. It holds nothing open when its last Watcher is closed.
type Hub struct {
	mu       sync.Mutex
	watchers int
	events   *events // nil: there are none
	told     bool

	open func() (*events, error) // default: openEvents
}

// join is for a new watcher; it gets nil if there are no events.
func (h *Hub) join(o Options) *events {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers++
	if h.events == nil {
		open := openEvents
		if h.open != nil {
			open = h.open
		}
		e, err := open()
		if err != nil {
			h.complain(o.Logger, o.Poll, err)
			return nil
		}
		h.events = e
	}
	return h.events
}

// leave is for one that is closed.
func (h *Hub) leave() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers--; h.watchers > 0 || h.events == nil {
		return nil
	}
	e := h.events
	h.events = nil
	return e.close()
}

// tell says once that there are changes which the system does not tell of.
func (h *Hub) tell(logger *slog.Logger, poll time.Duration, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.complain(logger, poll, err)
}

// complain is tell; the caller holds mu.
func (h *Hub) complain(logger *slog.Logger, poll time.Duration, err error) {
	if !h.told {
		h.told = true
		logger.Warn("the system does not tell of all changes in folders; looking from time to time", "every", poll, "error", err)
	}
}
