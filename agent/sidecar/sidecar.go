package sidecar

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/agent/sidecar/ops"
	"github.com/taskcluster/upload-agent/agent/watch"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// Options of a sidecar. The zero value works, but for State.
type Options struct {
	// State is the folder for the state of the runs, see agent.Options.StateDir, and for what is known of their folders. Workers must not be able
	// to write there. Default: none; it has to be given.
	State string

	// WorkerReports leaves it to the worker to report the run completed, once status.json says "result stored". Default: the agent reports.
	WorkerReports bool

	// MaxRuns bounds the runs that are open at once; others wait until one has ended. Default: 1,000.
	MaxRuns int

	// MaxLogs bounds the logs of a run: each is a file that is open, and published by itself. Others are not read, and
	// listed as missing. Default: 256.
	MaxLogs int

	// Settle is how long an artifact must not have changed to be uploaded before the end. Default: 2 s.
	Settle time.Duration

	// Poll is how often a folder is looked at whatever the system says of changes. Default: 5 s; 1 s with NoEvents.
	Poll time.Duration

	// NoEvents does without the system's events: where there are none, as on network filesystems, it is so anyway.
	NoEvents bool

	// Grace is how long runs that are finishing may go on after the context of Serve has ended. Default: 30 s; negative: none.
	Grace time.Duration

	// Uploads bounds how many artifacts of all runs together are uploaded at once; logs and documents always go first. Default: 16.
	Uploads int

	// Run are the options of every run. StateDir, Logs, Pool and Logger are the sidecar's.
	Run agent.Options

	// Logger takes what an operator wants to know. Default: none.
	Logger *slog.Logger

	// Counters are told what happens, for whoever watches the sidecar. Default: none.
	Counters *ops.Counters
}

func (o Options) withDefaults() Options {
	if o.MaxRuns <= 0 {
		o.MaxRuns = 1000
	}
	if o.MaxLogs <= 0 {
		o.MaxLogs = 256
	}
	if o.Settle <= 0 {
		o.Settle = 2 * time.Second
	}
	if o.Poll <= 0 {
		o.Poll = 5 * time.Second
		if o.NoEvents {
			o.Poll = time.Second
		}
	}
	if o.Uploads <= 0 {
		o.Uploads = 16
	}
	o.Run.Pool = agent.NewPool(o.Uploads)
	if o.Grace == 0 {
		o.Grace = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Sidecar takes runs from the folders below one. Its methods are safe for concurrent use.
type Sidecar struct {
	q       *queue.Client
	dir     string // absolute
	o       Options
	root    *os.Root
	records records
	slots   chan struct{} // one for each open run
	hub     watch.Hub
	pieces  pieces
	owner   fs.FileInfo // of dir

	mu      sync.Mutex
	started time.Time
	looked  time.Time
	ending  bool
	reason  string
	folders map[string]*folder
	runs    map[string]string // which folder a run has, or had: by the name of its state folder
}

// mostFolders is how many run folders are looked at.
const mostFolders = 10_000

// New makes a sidecar for the run folders below dir, of runs that were claimed from the queue q. Nothing happens before Serve.
// The error is about the folders.
func New(q *queue.Client, dir string, o Options) (*Sidecar, error) {
	o = o.withDefaults()
	s := &Sidecar{q: q, o: o, folders: map[string]*folder{}, runs: map[string]string{}, slots: make(chan struct{}, o.MaxRuns)}
	if o.State == "" {
		return nil, errors.New("make sidecar: no folder for the state of runs")
	}
	var err error
	if s.dir, err = filepath.Abs(dir); err == nil {
		s.o.State, err = filepath.Abs(o.State)
	}
	if err != nil {
		return nil, fmt.Errorf("make sidecar: %w", err)
	}
	if s.root, err = os.OpenRoot(s.dir); err != nil {
		return nil, fmt.Errorf("make sidecar: open the folder of the runs: %w", err)
	}
	s.owner, err = s.root.Stat(".")
	if err == nil {
		sum := sha256.Sum256([]byte(s.dir))
		s.records, err = openRecords(filepath.Join(s.o.State, "sidecar", hex.EncodeToString(sum[:8])))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make sidecar: %w", err), s.root.Close())
	}
	return s, nil
}

// Serve makes a sidecar and has it serve.
func Serve(ctx context.Context, q *queue.Client, dir string, o Options) error {
	s, err := New(q, dir, o)
	if err != nil {
		return err
	}
	return s.Serve(ctx)
}

// Serve works on the run folders until ctx ends, and then leaves the runs as they are for the next one: those that are finishing have
// Options.Grace to come to their end. It can be called once. Its error is about what is left open.
func (s *Sidecar) Serve(ctx context.Context) error {
	s.mu.Lock()
	s.started = time.Now()
	s.mu.Unlock()
	defer s.root.Close() // only read
	if s.o.Run.Uploader == nil {
		s.o.Run.Uploader = upload.New(upload.Options{Logger: s.o.Logger})
		defer s.o.Run.Uploader.CloseIdleConnections()
	}
	// The runs live longer than ctx, if they are finishing.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stop := context.AfterFunc(ctx, func() {
		if s.o.Grace <= 0 {
			end()
			return
		}
		timer := time.AfterFunc(s.o.Grace, end)
		context.AfterFunc(life, func() { timer.Stop() })
	})
	defer stop()

	// Of the folder of the folders only itself is watched: each of those in it is by its own.
	watcher, err := watch.New(s.dir, watch.Options{Poll: s.lookEvery(), NoEvents: s.o.NoEvents, MaxFolders: 1})
	if err != nil {
		return fmt.Errorf("serve run folders: %w", err)
	}
	var folders sync.WaitGroup
	s.recall(ctx, &folders)
	for ctx.Err() == nil {
		s.look(ctx, life, &folders)
		select {
		case <-watcher.Changes():
		case <-ctx.Done():
		}
	}
	err = watcher.Close()
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	folders.Wait()
	if err != nil {
		return fmt.Errorf("serve run folders: %w", err)
	}
	return nil
}

// recall finds out which runs there were. Those whose folders have gone meanwhile come to their end in the background.
func (s *Sidecar) recall(ctx context.Context, running *sync.WaitGroup) {
	all, err := s.records.all()
	if err != nil {
		s.o.Logger.Error("cannot read what is known of the run folders", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range all {
		if _, err := s.root.Lstat(one.Folder); errors.Is(err, fs.ErrNotExist) {
			running.Go(func() { s.concludeGone(ctx, one) })
			continue
		}
		s.runs[one.run()] = one.Folder
	}
}

// concludeGone ends a run whose folder has gone while nobody looked.
func (s *Sidecar) concludeGone(ctx context.Context, one record) {
	if !s.conclude(ctx, one) {
		return // next time
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.folders[one.Folder]; ok {
		return // it has come back
	}
	if err := s.records.forget(one.Folder); err != nil {
		s.o.Logger.Warn("cannot forget a run folder that is gone", "folder", one.Folder, "error", err)
	}
}

// conclude ends a run whose folder has gone, see agent.Run.Conclude. It is false if there is something left of it.
func (s *Sidecar) conclude(ctx context.Context, one record) bool {
	state := filepath.Join(s.o.State, one.run())
	if _, err := os.Lstat(state); err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	o := s.o.Run
	o.StateDir, o.Logger = s.o.State, s.o.Logger.With("folder", one.Folder, "task", one.TaskID, "run", one.RunID)
	run, err := agent.Resume(ctx, s.q, state, o)
	if err == nil {
		_, err = run.Conclude(ctx)
		err = errors.Join(err, run.Close())
	}
	o.Logger.Warn("the folder of a run was removed while nobody looked", "error", err)
	_, err = os.Lstat(state)
	return errors.Is(err, fs.ErrNotExist)
}

// lookEvery is how often new folders are looked for.
func (s *Sidecar) lookEvery() time.Duration { return min(s.o.Poll, time.Second) }

// look sees which folders there are.
func (s *Sidecar) look(ctx, life context.Context, running *sync.WaitGroup) {
	entries, err := list(s.root, mostFolders+1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked, s.ending, s.reason = time.Now(), ctx.Err() != nil, ""
	if err != nil {
		s.reason = "list the folder of the runs: " + err.Error()
		s.o.Logger.Error("cannot list the run folders", "error", err)
		return
	}
	if len(entries) > mostFolders {
		s.reason = fmt.Sprintf("more than %d run folders: those after them are not looked at", mostFolders)
		entries = entries[:mostFolders]
	}
	there := map[string]bool{}
	for _, entry := range entries {
		name := entry.Name()
		there[name] = true
		if f, known := s.folders[name]; !known || f.ended() {
			s.folders[name] = s.begin(ctx, life, name, f, running)
		}
	}
	for name, f := range s.folders {
		if !there[name] && f.ended() {
			delete(s.folders, name)
			s.leaveRuns(name)
			if err := s.records.forget(name); err != nil {
				s.o.Logger.Warn("cannot forget a run folder that is gone", "folder", name, "error", err)
			}
		}
	}
}

// begin works on a folder in a goroutine of its own. One that was over before, and is the same still, is left as it is.
func (s *Sidecar) begin(ctx, life context.Context, name string, before *folder, running *sync.WaitGroup) *folder {
	info, err := s.root.Lstat(name)
	if before != nil && err == nil && before.info != nil && os.SameFile(before.info, info) && !before.hasAnotherClaim() {
		return before
	}
	f := newFolder(s, name)
	if err != nil || !info.IsDir() {
		f.info = info
		f.refuseEntry(info, err)
		return f
	}
	f.info = info
	running.Go(func() { f.serve(ctx, life) })
	return f
}

// Status says what the sidecar does.
func (s *Sidecar) Status() Status {
	s.mu.Lock()
	status := Status{Started: s.started, Looked: s.looked, Ending: s.ending, Reason: s.reason}
	folders := make([]*folder, 0, len(s.folders))
	for _, f := range s.folders {
		folders = append(folders, f)
	}
	s.mu.Unlock()
	for _, f := range folders {
		one := f.board.snapshot(f.name)
		one.Open = f.current.Load() != nil
		status.Folders = append(status.Folders, one)
	}
	slices.SortFunc(status.Folders, func(a, b FolderStatus) int { return cmp.Compare(a.Folder, b.Folder) })
	return status
}

// Run is the run of a task if it is open now, for what else a worker may want of it. It must not be ended by anybody else.
func (s *Sidecar) Run(task schema.TaskID, run schema.RunID) (*agent.Run, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.folders[s.runs[record{TaskID: task, RunID: run}.run()]]
	if f == nil {
		return nil, false
	}
	r := f.current.Load()
	return r, r != nil
}

// Runs are those that are open now.
func (s *Sidecar) Runs() []*agent.Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	var runs []*agent.Run
	for _, f := range s.folders {
		if r := f.current.Load(); r != nil {
			runs = append(runs, r)
		}
	}
	return runs
}

// takeRun says that a run is a folder's, until that is gone. It gives the one that has it already, if there is one.
func (s *Sidecar) takeRun(run, folder string) (other string, taken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if has, ok := s.runs[run]; ok && has != folder {
		return has, true
	}
	s.runs[run] = folder
	return "", false
}

// leaveRuns is for a folder that is gone. The caller holds mu.
func (s *Sidecar) leaveRuns(folder string) {
	maps.DeleteFunc(s.runs, func(_, has string) bool { return has == folder })
}
