package agenttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// eventsPath is beside the protocol's /v1, not below it.
const eventsPath = "/events"

// streamBeat is how often a quiet stream says that it is still there.
const streamBeat = 10 * time.Second

// EventsURL is where other processes read the events, as a stream of server-sent events (text/event-stream): from now on, or, with the header
// Last-Event-ID, from after that one. The data of each is an [Event] as JSON, its type is the name of the exchange. Not part of the protocol.
func (s *Server) EventsURL() string { return strings.TrimSuffix(s.queueURL, "/v1") + eventsPath }

// withEvents serves the stream of events beside the queue's API: no fault hits it, and it is not in the history.
func (s *Server) withEvents(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != eventsPath {
			api.ServeHTTP(w, r)
			return
		}
		s.active.Add(1)
		defer s.active.Done()
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "want GET", http.StatusMethodNotAllowed)
			return
		}
		s.streamEvents(w, r)
	})
}

func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request) {
	number := s.readUpTo(r.Header.Get("Last-Event-ID"))
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	// The first lines tell a reader that loses the connection before the first event where to go on.
	fmt.Fprintf(w, "retry: 1000\nid: %s-%d\n\n", s.instance, number)
	out := http.NewResponseController(w)
	batches := make(chan []Event)
	s.active.Go(func() {
		defer close(batches)
		for {
			events, err := s.events.after(r.Context(), number)
			if err != nil {
				return
			}
			number = events[len(events)-1].Number
			select {
			case batches <- events:
			case <-r.Context().Done():
				return
			}
		}
	})
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	for out.Flush() == nil {
		select {
		case events, open := <-batches:
			if !open {
				return
			}
			for _, e := range events {
				data, err := json.Marshal(e)
				if err != nil {
					s.logger.Error("event not sent", "exchange", e.Exchange, "err", err)
					continue
				}
				fmt.Fprintf(w, "id: %s-%d\nevent: %s\ndata: %s\n\n", s.instance, e.Number, e.Exchange, data) // a client that has left shows when it is flushed
			}
		case <-beat.C:
			fmt.Fprint(w, ":\n\n")
		case <-r.Context().Done():
			return
		}
	}
}

// readUpTo is the number of the event that an id names. All events are new to who has read those of an earlier server at the same address.
func (s *Server) readUpTo(id string) int {
	instance, text, _ := strings.Cut(id, "-")
	number, err := strconv.Atoi(text)
	switch {
	case id == "":
		return s.events.last()
	case instance != s.instance || err != nil || number < 0:
		return 0
	}
	return number
}
