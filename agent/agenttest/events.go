package agenttest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// Event is a message as a broker would deliver it.
type Event struct {
	Exchange   string          // "queue/v1/task-pending", -running, -completed or -failed
	RoutingKey string          // taskId.runId.workerGroup.workerId.provisionerId.workerType.routing, "_" for what is not known
	Body       []byte          // JSON
	At         time.Time       // when it was published
	Message    schema.Document // the same, as [schema.PendingMessage], RunningMessage, CompletedMessage or FailedMessage
}

// routingKey names run and worker of the event, nil for none.
func routingKey(s schema.TaskStatus, run *schema.Run) string {
	ran := "_._._"
	if run != nil {
		ran = fmt.Sprintf("%d.%s.%s", run.RunID, run.WorkerGroup, run.WorkerID)
	}
	return fmt.Sprintf("%s.%s.%s.%s.%s", s.TaskID, ran, s.ProvisionerID, s.WorkerType, s.Routing)
}

// broker hands every event to every subscriber.
type broker struct {
	mu            sync.Mutex
	subscriptions map[*subscription]struct{}
	delivering    sync.WaitGroup
	closed        bool
}

func newBroker() *broker { return &broker{subscriptions: map[*subscription]struct{}{}} }

// subscription buffers without a bound, so that a slow reader holds nobody up.
type subscription struct {
	buffer []Event       // guarded by broker.mu
	wake   chan struct{} // holds one token while buffer may have something
	out    chan Event
}

func (b *broker) publish(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subscriptions {
		s.buffer = append(s.buffer, e)
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (b *broker) subscribe(ctx context.Context, closing <-chan struct{}) <-chan Event {
	s := &subscription{wake: make(chan struct{}, 1), out: make(chan Event)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		close(s.out)
		return s.out
	}
	b.subscriptions[s] = struct{}{}
	b.delivering.Go(func() { b.deliver(ctx, closing, s) })
	return s.out
}

func (b *broker) deliver(ctx context.Context, closing <-chan struct{}, s *subscription) {
	defer close(s.out)
	defer func() {
		b.mu.Lock()
		delete(b.subscriptions, s)
		b.mu.Unlock()
	}()
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		case <-closing:
			return
		}
		b.mu.Lock()
		batch := s.buffer
		s.buffer = nil
		b.mu.Unlock()
		for _, e := range batch {
			select {
			case s.out <- e:
			case <-ctx.Done():
				return
			case <-closing:
				return
			}
		}
	}
}

// close waits for the subscribers' goroutines, which end because the server is closing.
func (b *broker) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.delivering.Wait()
}
