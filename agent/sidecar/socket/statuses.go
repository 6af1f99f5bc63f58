package socket

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

// rhythm is how often a caller that follows hears of changes.
const rhythm = 500 * time.Millisecond

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	run, err := s.run(r)
	if err != nil {
		refuse(w, err)
		return
	}
	if r.URL.Query().Get("follow") == "" {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(statusOf(run.Progress())) // a caller that has gone does not read it
		return
	}
	answer := newLines(w)
	tick := time.NewTicker(rhythm)
	defer tick.Stop()
	var said []byte
	for {
		status := statusOf(run.Progress())
		now, err := json.Marshal(status)
		if err == nil && !bytes.Equal(now, said) {
			err = answer.send(status)
		}
		if said = now; err != nil || status.Ended != "" {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}
