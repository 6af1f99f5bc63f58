package page

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

// writeTime is how long a browser may take nothing of a log before its connection is given up.
const writeTime = 2 * time.Minute

// errRunOver ends the reading of a log that nobody will end.
var errRunOver = errors.New("the run is over, and its log has no end")

func (p *Page) serveLog(w http.ResponseWriter, r *http.Request) {
	v, run, ok := p.runOf(w, r)
	if !ok {
		return
	}
	name := r.URL.Query().Get("name")
	offset, err := strconv.ParseInt("0"+r.URL.Query().Get("offset"), 10, 64)
	if _, declared := v.logs[run.ID][name]; !declared || err != nil {
		refuse(w, http.StatusNotFound, "the run has no such log, or the offset is no number")
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	log, err := p.openLog(ctx, v, run, name, offset)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	defer log.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", attachment(run, name))
	h.Set("X-Accel-Buffering", "no") // a proxy must not keep the newest lines to itself
	if r.Method == http.MethodHead {
		return
	}
	var last atomic.Int64 // when bytes came, in Unix nanoseconds
	last.Store(time.Now().UnixNano())
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		p.endWithRun(ctx, cancel, v.ID, run.ID, &last)
	}()
	err = copyLog(w, log, &last)
	ended := context.Cause(ctx)
	cancel(nil)
	<-watching
	if err != nil && !errors.Is(ended, errRunOver) {
		p.o.Logger.Debug("inspector page: log broke off", "taskId", v.ID, "runId", run.ID, "err", err)
		panic(http.ErrAbortHandler) // the way to tell the browser that this is not the end of the log
	}
}

// openLog opens a log at an offset. While the run goes on it is read in the form that can be followed, if there is one.
func (p *Page) openLog(ctx context.Context, v *view, run Run, name string, offset int64) (io.ReadCloser, error) {
	urls := v.logs[run.ID]
	stored, whole := v.results[run.ID].Artifacts[name]
	if live, ok := urls[livePrefix+name]; ok && !whole {
		return livelog.NewReader(ctx, live, livelog.ReaderOptions{Offset: offset, Logger: p.o.Logger}), nil
	}
	if !whole {
		stored = urls[name]
	}
	object, err := p.openStored(ctx, stored)
	if err != nil {
		return nil, p.o.Storage.GoneArtifact(v.results[run.ID], name, err)
	}
	if _, err := io.CopyN(io.Discard, object, offset); err != nil && err != io.EOF {
		return nil, errors.Join(err, object.Close())
	}
	return object, nil
}

// openStored does not wait for ever for an object to answer.
func (p *Page) openStored(ctx context.Context, url string) (*queue.Object, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(lookTime, func() { cancel(fmt.Errorf("no answer in %v", lookTime)) })
	defer timer.Stop() // and ctx goes on: it is the object's, until the request ends
	return p.o.Storage.Open(ctx, url)
}

// copyLog hands on what comes as soon as it comes.
func copyLog(w http.ResponseWriter, log io.Reader, last *atomic.Int64) error {
	control := http.NewResponseController(w)
	if err := control.Flush(); err != nil { // the browser shall know that it is connected
		return err
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := log.Read(buf)
		if n > 0 {
			last.Store(time.Now().UnixNano())
			_ = control.SetWriteDeadline(time.Now().Add(writeTime)) // where it cannot be set, a dead browser costs a connection
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if err := control.Flush(); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// endWithRun ends the reading of a log when its run is over and nothing has come for a while: nobody writes its end.
func (p *Page) endWithRun(ctx context.Context, end context.CancelCauseFunc, id schema.TaskID, run schema.RunID, last *atomic.Int64) {
	tick := time.NewTicker(p.o.Quiet / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		v, err := p.views.get(ctx, id)
		if err != nil {
			continue
		}
		now, ok := v.run(run)
		if ok && now.State.over() && time.Since(time.Unix(0, last.Load())) > p.o.Quiet {
			end(errRunOver)
			return
		}
	}
}

// attachment has the browser save a log rather than show it, whatever is in it.
func attachment(run Run, name string) string {
	file := fmt.Sprintf("run-%d-%s", run.ID, path.Base(name))
	if value := mime.FormatMediaType("attachment", map[string]string{"filename": file}); value != "" {
		return value
	}
	return "attachment"
}
