package agenttest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// Options of a [Server]; the zero value works.
type Options struct {
	QueueListen   string // address of the queue; default "127.0.0.1:0"
	StorageListen string // address of the storage; default "127.0.0.1:0"

	// Listen opens the listeners (queue, storage, and a third one on "127.0.0.1:0" where redirects lead);
	// default net.Listen. A hook for networks in memory.
	Listen func(network, addr string) (net.Listener, error)

	Faults *FaultPlan   // how to misbehave; nil: not at all, until Inject
	Logger *slog.Logger // one line a request at level debug, never a signed URL; nil: none

	ClaimLength     time.Duration // length of a claim; 0: the task's timeout. For tests that want short claims
	ArtifactURLLife time.Duration // how long an artifact's signed URL is good; default 20 minutes

	// MultipartFrom is the size in bytes from which on the queue grants artifacts in parts (see schema.MultipartOffer).
	// 0: it does not know that, as the first queue did not, and refuses who asks for it.
	MultipartFrom int64
	PartSize      int64 // of a grant in parts; larger where the object would have too many, 5 MiB at least; default 64 MiB
	PartURLs      int   // how many part URLs an answer holds; default 100

	// Bucket is where objects live, instead of below a folder; nil: nowhere but there. See "In a bucket" in the package's documentation.
	Bucket *Bucket

	// AMQP is what the queue answers to who asks it for its message broker (GET /v1/settings/amqp-connection-string), password and all;
	// zero: that it has none. Publishing there is package amqp's.
	AMQP schema.SignedURL

	// Signature is the version of AWS's signatures in the URLs that the queue hands out: "v4", the default, or "v2", the first queue's. With "v2"
	// the storage refuses every header x-amz-..., and Content-MD5, and takes a Content-Encoding. [Server.BucketAccess] stays with version 4.
	Signature string

	// Quirks2014 makes the queue err as the first one did; see the documentation of the package.
	Quirks2014 bool

	// Clock is what the queue and the storage take for the time: of claims, of signed URLs, of events, and of the Date of their
	// answers; default time.Now. Delays still pass as they do for everybody: what a clock that jumps has made
	// due is noticed with the next call, or when it would have been due without the jump.
	Clock func() time.Time

	// How those who read the storage are served; see there. PUTs expire and may be redirected, too. Zero: straight from the storage, for ever.
	Redirects []Redirect
	Cache     Cache
	Lifecycle []Lifecycle // not of a Bucket, which has rules of its own

	// LateReport is how long after the end of its claim a report may arrive without being a violation; default 1 s.
	LateReport time.Duration
}

// Server is a running queue and storage. Its methods are safe for concurrent use.
type Server struct {
	options    Options
	logger     *slog.Logger
	queueURL   string // ends in /v1
	storageURL string
	alternate  string // http://host:port of the listener where redirects lead

	plan    *FaultPlan
	signer  *signer
	objects objects
	storage *storage       // the objects, if they are in files
	bucket  *bucketStorage // the objects, if they are in a bucket
	queue   *queue
	events  *broker
	order   *order
	history *history

	redirects redirects

	instance string // tells this server's events from those of one that was here before

	servers []*http.Server
	closing chan struct{}  // closed at Close: stalled requests and subscribers end
	serving sync.WaitGroup // listeners and the expiry of claims
	active  sync.WaitGroup // connections, and requests on them
	close   sync.Once
	err     error // of Close
}

// New starts a queue and a storage. The storage keeps its objects below dir, which is made if missing,
// and serves those that an earlier server left there; with a Bucket it keeps them there, and dir is not looked at. Close ends it.
func New(dir string, o Options) (*Server, error) {
	if o.Listen == nil {
		o.Listen = net.Listen
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.ArtifactURLLife == 0 {
		o.ArtifactURLLife = 20 * time.Minute
	}
	orElse(&o.PartSize, 64<<20)
	orElse(&o.PartURLs, 100)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.LateReport == 0 {
		o.LateReport = time.Second
	}
	if o.Faults == nil {
		o.Faults = new(FaultPlan)
	}
	if !slices.Contains([]string{"", "v2", "v4"}, o.Signature) {
		return nil, fmt.Errorf("start agenttest server: signature %q is neither v2 nor v4", o.Signature)
	}
	if o.Signature == "v2" && o.Bucket != nil {
		return nil, errors.New("start agenttest server: what is stored in a bucket is signed with v4")
	}
	s := &Server{
		options: o, logger: o.Logger, plan: o.Faults,
		signer: newSigner(o.Signature == "v2"), history: new(history), closing: make(chan struct{}), instance: randomHex(),
	}
	if err := s.open(dir); err != nil {
		return nil, fmt.Errorf("start agenttest server: %w", err)
	}
	s.events = newBroker(s.closing)
	listeners, err := s.listen()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start agenttest server: %w", err), s.objects.close())
	}
	s.order = newOrder(s.objects, s.storageURL, o.LateReport)
	s.order.blind = s.bucket != nil
	if s.storage != nil {
		s.storage.onStored = s.order.changed
	}
	s.queue = newQueue(s)
	s.serve(listeners[0], s.withEvents(http.HandlerFunc(s.serveQueue)))
	s.redirects.rules = o.Redirects
	if err := s.serveSecure(); err != nil {
		return nil, errors.Join(fmt.Errorf("start agenttest server: %w", err), listeners[1].Close(), listeners[2].Close(), s.Close())
	}
	s.serve(listeners[1], s.caching(s.fronted(s.storageURL, http.HandlerFunc(s.serveStorage))))
	s.serve(listeners[2], s.fronted(s.alternate, http.HandlerFunc(s.serveAlternate)))
	s.serving.Go(func() { s.queue.expireClaims(s.closing) })
	return s, nil
}

// open opens what holds the objects.
func (s *Server) open(dir string) (err error) {
	if s.options.Bucket == nil {
		if s.storage, err = openStorage(dir, s.options.Clock); err == nil {
			s.objects = s.storage
		}
		return err
	}
	if err := s.plan.onlyReaders(); err != nil {
		return err
	}
	if s.bucket, err = openBucket(*s.options.Bucket); err == nil {
		s.objects = s.bucket
	}
	return err
}

// listen opens the three listeners and sets the URLs.
func (s *Server) listen() ([]net.Listener, error) {
	var listeners []net.Listener
	var hosts []string
	for _, addr := range []string{s.options.QueueListen, s.options.StorageListen, ""} {
		if addr == "" {
			addr = "127.0.0.1:0"
		}
		l, err := s.options.Listen("tcp", addr)
		if err != nil {
			for _, open := range listeners {
				err = errors.Join(err, open.Close())
			}
			return nil, fmt.Errorf("listen on %s: %w", addr, err)
		}
		listeners = append(listeners, l)
		hosts = append(hosts, "http://"+reachable(l.Addr().String()))
	}
	s.queueURL, s.storageURL, s.alternate = hosts[0]+"/v1", hosts[1], hosts[2]
	return listeners, nil
}

// reachable turns the address of a listener on all interfaces into one that can be dialled.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// fronted is the storage at an address, with what Options put before it.
func (s *Server) fronted(at string, storage http.Handler) http.Handler {
	return s.redirecting(at, s.expiring(storage))
}

func (s *Server) serve(l net.Listener, h http.Handler) {
	srv := &http.Server{
		Handler:   h,
		ConnState: s.count,
		ErrorLog:  slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	s.servers = append(s.servers, srv)
	s.serving.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.logger.Error("server ended", "addr", l.Addr().String(), "err", err)
		}
	})
}

// count keeps the open connections in s.active. A request adds itself while its connection
// still counts, so that Close can wait for both.
func (s *Server) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.active.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.active.Done()
	}
}

// Close stops the server: listeners and connections are closed, stalled requests released, the channels of
// Events closed. It waits for all goroutines. What is stored stays on disk.
func (s *Server) Close() error {
	s.close.Do(func() {
		close(s.closing)
		for _, srv := range s.servers {
			s.err = errors.Join(s.err, srv.Close())
		}
		s.serving.Wait()
		s.active.Wait()
		s.events.close()
		s.err = errors.Join(s.err, s.objects.close())
	})
	return s.err
}

// QueueURL is the base URL of the queue's API; it ends in /v1.
func (s *Server) QueueURL() string { return s.queueURL }

// StorageURL is the base URL of the task storage, without a slash at the end:
// a task's definition is at StorageURL() + "/" + taskId + "/task.json".
func (s *Server) StorageURL() string { return s.storageURL }

// PostTask posts a task as POST /task/new does, without HTTP. Zero fields of t get defaults: provisioner and worker
// type "simulate", 5 retries, a timeout of 1200 seconds, created now, a deadline an hour after that, and
// metadata of an example.
func (s *Server) PostTask(t schema.Task) (schema.TaskStatus, error) {
	s.setDefaults(&t)
	data, err := schema.Encode(t)
	if err != nil {
		return schema.TaskStatus{}, fmt.Errorf("post task: %w", err)
	}
	status, err := s.queue.add(schema.NewTaskID(), t, data)
	if err != nil {
		return schema.TaskStatus{}, fmt.Errorf("post task: %w", err)
	}
	return status, nil
}

func (s *Server) setDefaults(t *schema.Task) {
	orElse(&t.Version, schema.Version)
	orElse(&t.ProvisionerID, "simulate")
	orElse(&t.WorkerType, "simulate")
	orElse(&t.Retries, 5)
	orElse(&t.Timeout, 1200)
	orElse(&t.Created, schema.Timestamp(s.options.Clock()))
	orElse(&t.Deadline, t.Created.Add(time.Hour))
	orElse(&t.Metadata.Name, "simulated task")
	orElse(&t.Metadata.Owner, "simulate@example.com")
	orElse(&t.Metadata.Source, "https://example.com/simulate")
	if t.Payload == nil {
		t.Payload = map[string]any{}
	}
	if t.Tags == nil {
		t.Tags = map[string]string{}
	}
}

func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// PostAndClaim posts a task with defaults and claims it for w, without HTTP: all that a run needs.
// Zero fields of w are "simulate".
func (s *Server) PostAndClaim(w schema.Worker) (schema.Claim, error) {
	orElse(&w.WorkerGroup, "simulate")
	orElse(&w.WorkerID, "simulate")
	posted, err := s.PostTask(schema.Task{})
	if err != nil {
		return schema.Claim{}, err
	}
	c, err := s.queue.claim(posted.TaskID, w, math.MaxInt)
	if err != nil {
		return schema.Claim{}, fmt.Errorf("claim task %s: %w", posted.TaskID, err)
	}
	return schema.Claim{ClaimAnswer: s.claimAnswer(c), Worker: w, TaskID: c.task}, nil
}

// Tasks gives the status of every task, in the order in which they were posted.
func (s *Server) Tasks() []schema.TaskStatus {
	return s.queue.list(func(schema.TaskStatus) bool { return true })
}

// Status gives the status of a task, as GET /task/:id/status does, without HTTP.
func (s *Server) Status(id schema.TaskID) (schema.TaskStatus, error) {
	status, err := s.queue.status(id)
	if err != nil {
		return schema.TaskStatus{}, fmt.Errorf("status of task %s: %w", id, err)
	}
	return status, nil
}

// LoseClaim takes the running task's run away from its worker, as if the claim had expired: the next reclaim
// answers 404, and the task is pending again (or failed, without retries left).
func (s *Server) LoseClaim(id schema.TaskID) error {
	if err := s.queue.lose(id); err != nil {
		return fmt.Errorf("lose claim of task %s: %w", id, err)
	}
	return nil
}

// Events gives every event from now on, in order. Nothing is dropped, however slowly the channel is read.
// It is closed when ctx ends or the server is closed; then what was not yet read is gone.
func (s *Server) Events(ctx context.Context) <-chan Event {
	return s.events.subscribe(ctx, s.events.last())
}

// EventsAfter waits until there are events after that number (0: from the first one on), and gives all of them at once, which the caller must
// not change. The error is that of ctx, or http.ErrServerClosed once the server is closed and all was given.
func (s *Server) EventsAfter(ctx context.Context, number int) ([]Event, error) {
	return s.events.after(ctx, number)
}

// LastEvent is the number of the newest event, 0 if there was none yet.
func (s *Server) LastEvent() int { return s.events.last() }

// Requests is the history: every request so far, in the order of arrival, those under way included.
func (s *Server) Requests() []Request { return s.history.list() }

// Violations lists what broke the promise that a completed run can be read: each run reported completed, whether
// the queue accepted it or not, whose result.json, logs.json or a stored artifact it names was missing
// at that moment; each report of a run that had ended for its worker: its claim had lapsed, or a reclaim had been answered
// with 404; each PUT that arrived for a run already completed, and each object changed by one.
// A well-behaved agent leaves it empty.
func (s *Server) Violations() []string { return s.order.list() }

// Object reads a stored object, for instance "<taskId>/runs/0/result.json".
// One that is not stored is an error that errors.Is fs.ErrNotExist.
func (s *Server) Object(path string) ([]byte, error) { return s.objects.read(path) }

// Uploads lists the uploads in parts that are neither completed nor aborted; in a bucket, those that this server has begun.
func (s *Server) Uploads() []Upload { return s.objects.openUploads() }

// Inject adds a fault to the plan; see [FaultPlan.Inject].
func (s *Server) Inject(f Fault) error { return s.plan.Inject(f) }

// readURL is where readers find an object.
func (s *Server) readURL(key string) string { return s.storageURL + "/" + escapePath(key) }

// putURL signs the permission to PUT an object.
func (s *Server) putURL(key, contentType string, expires time.Time) schema.SignedURL {
	return s.signedURL(http.MethodPut, key, nil, contentType, expires)
}

// signedURL signs the permission to do something with an object.
func (s *Server) signedURL(method, key string, query url.Values, contentType string, expires time.Time) schema.SignedURL {
	if s.bucket != nil {
		return s.bucket.sign(method, key, query, contentType, expires.Sub(s.options.Clock()))
	}
	return s.signer.presign(method, strings.TrimPrefix(s.storageURL, "http://"), key, query, contentType, s.options.Clock(), expires)
}
