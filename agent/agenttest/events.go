package agenttest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// Event is a message as a broker would deliver it. As JSON it is a line of [Server.EventsURL].
type Event struct {
	Number     int             `json:"number"`     // events of a server count from 1, in the order in which they were published
	Exchange   string          `json:"exchange"`   // "queue/v1/task-pending", -running, -completed or -failed
	RoutingKey string          `json:"routingKey"` // taskId.runId.workerGroup.workerId.provisionerId.workerType.routing, "_" for what is not known
	At         time.Time       `json:"at"`         // when it was published
	Body       json.RawMessage `json:"message"`
	Message    schema.Document `json:"-"` // the same, as [schema.PendingMessage], RunningMessage, CompletedMessage or FailedMessage
}

// routingKey names run and worker of the event, nil for none.
func routingKey(s schema.TaskStatus, run *schema.Run) string {
	ran := "_._._"
	if run != nil {
		ran = fmt.Sprintf("%d.%s.%s", run.RunID, run.WorkerGroup, run.WorkerID)
	}
	return fmt.Sprintf("%s.%s.%s.%s.%s", s.TaskID, ran, s.ProvisionerID, s.WorkerType, s.Routing)
}

// broker keeps every event, and wakes those who wait for more.
type broker struct {
	closing <-chan struct{}
	out     sync.WaitGroup // whoever feeds a channel

	mu   sync.Mutex
	log  []Event       // never changed, only appended to
	more chan struct{} // closed with the next event
	done bool          // nobody may subscribe any more
}

func newBroker(closing <-chan struct{}) *broker {
	return &broker{closing: closing, more: make(chan struct{})}
}

func (b *broker) publish(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.Number = len(b.log) + 1
	b.log = append(b.log, e)
	close(b.more)
	b.more = make(chan struct{})
}

func (b *broker) last() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.log)
}

// after waits until there are events after that number, and gives them all. Who asks a closed broker gets what is left, and then http.ErrServerClosed.
func (b *broker) after(ctx context.Context, number int) ([]Event, error) {
	for {
		b.mu.Lock()
		events, more := b.log[min(number, len(b.log)):len(b.log):len(b.log)], b.more
		b.mu.Unlock()
		if len(events) > 0 {
			return events, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-b.closing:
			return nil, http.ErrServerClosed
		}
	}
}

// subscribe feeds a channel with all events after that number.
func (b *broker) subscribe(ctx context.Context, number int) <-chan Event {
	out := make(chan Event)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		close(out)
		return out
	}
	b.out.Go(func() {
		defer close(out)
		for {
			events, err := b.after(ctx, number)
			if err != nil {
				return
			}
			for _, e := range events {
				select {
				case out <- e:
					number = e.Number
				case <-ctx.Done():
					return
				case <-b.closing:
					return
				}
			}
		}
	})
	return out
}

// close waits for the goroutines of subscribers, which end because the server is closing.
func (b *broker) close() {
	b.mu.Lock()
	b.done = true
	b.mu.Unlock()
	b.out.Wait()
}
