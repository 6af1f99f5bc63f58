package agenttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/taskcluster/upload-agent/schema"
)

// route is one call of the queue's API. Its pattern is the path below /v1; a segment ":x" stands for anything.
type route struct {
	what, method, pattern string
	serve                 func(s *Server, in input) (answer any, refused *refusal)
}

var routes = []route{
	{"new", "POST", "task/new", (*Server).newTask},
	{"define-tasks", "GET", "define-tasks", (*Server).defineTasks},
	{"schedule", "POST", "task/:id/schedule", (*Server).scheduleTask},
	{"status", "GET", "task/:id/status", (*Server).taskStatus},
	{"claim", "POST", "task/:id/claim", (*Server).claimTask},
	{"claim", "POST", "claim-work/:provisionerId/:workerType", (*Server).claimWork},
	{"artifact-urls", "POST", "task/:id/artifact-urls", (*Server).artifactURLs},
	{"completed", "POST", "task/:id/completed", (*Server).completeTask},
	{"rerun", "POST", "task/:id/rerun", (*Server).rerunTask},
	{"settings", "GET", "settings/amqp-connection-string", (*Server).amqp},
	{"pending-tasks", "GET", "pending-tasks/:provisionerId", (*Server).pendingTasks},
}

// input is what a call was given.
type input struct {
	args         []string // what stood for the ":x" of the pattern
	contentType  string
	body         []byte
	arrivedAfter int // how many claims
}

func (in input) task() schema.TaskID { return schema.TaskID(in.args[0]) }

// refusal is an answer other than 200.
type refusal struct {
	status int
	schema.ErrorAnswer
	text string // instead of JSON
}

func refuse(status int, message string) *refusal { return refuseFor(status, message, nil) }

func refuseFor(status int, message string, reason any) *refusal {
	return &refusal{status: status, ErrorAnswer: schema.ErrorAnswer{Message: message, Error: reason}}
}

// findRoute gives the call that a request makes, nil for none.
func findRoute(method, path string) (*route, []string) {
	segments := strings.Split(strings.TrimPrefix(path, "/v1/"), "/")
	for i := range routes {
		if args, ok := routes[i].match(segments); ok && routes[i].method == method && strings.HasPrefix(path, "/v1/") {
			return &routes[i], args
		}
	}
	return nil, nil
}

func (rt *route) match(segments []string) (args []string, ok bool) {
	pattern := strings.Split(rt.pattern, "/")
	if len(pattern) != len(segments) {
		return nil, false
	}
	for i, p := range pattern {
		switch {
		case strings.HasPrefix(p, ":"):
			args = append(args, segments[i])
		case p != segments[i]:
			return nil, false
		}
	}
	return args, true
}

// call answers a request to the queue.
func (s *Server) call(w http.ResponseWriter, r *http.Request, body []byte, arrivedAfter int) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Allow-Headers", "X-Requested-With,Content-Type")
	rt, args := findRoute(r.Method, r.URL.Path)
	if rt == nil {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, "Cannot %s %s\n", r.Method, r.URL.EscapedPath())
		return
	}
	answer, refused := rt.answer(s, input{args: args, contentType: r.Header.Get("Content-Type"), body: body, arrivedAfter: arrivedAfter})
	switch {
	case refused != nil:
		refused.write(w)
	case answer == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		data, err := encode(answer)
		if err != nil {
			s.serverError(r.URL.Path, err).write(w)
			return
		}
		writeJSON(w, http.StatusOK, data)
	}
}

func (rt *route) answer(s *Server, in input) (any, *refusal) {
	if strings.HasPrefix(rt.pattern, "task/:id/") && s.quirks().badID(in.task()) {
		return nil, s.serverError(in.args[0], errUnknownTask)
	}
	if in.isJSON() {
		if text := s.quirks().notJSON(in.body); text != "" {
			return nil, &refusal{status: http.StatusBadRequest, text: text}
		}
	}
	return rt.serve(s, in)
}

func (s *Server) quirks() quirks { return s.queue.quirks }

func (in input) isJSON() bool {
	mediaType, _, err := mime.ParseMediaType(in.contentType)
	return err == nil && mediaType == "application/json"
}

func encode(answer any) ([]byte, error) {
	if doc, ok := answer.(schema.Document); ok {
		return schema.Encode(doc)
	}
	return json.Marshal(answer)
}

func writeJSON(w http.ResponseWriter, status int, data []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	w.Write(data) // a client that has left is no error of ours
}

func (f *refusal) write(w http.ResponseWriter) {
	if f.text != "" {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(f.status)
		io.WriteString(w, f.text) // a client that has left is no error of ours
		return
	}
	data, err := json.Marshal(f.ErrorAnswer)
	if err != nil {
		data = []byte(`{"message":"Internal Server Error"}`)
	}
	writeJSON(w, f.status, data)
}

// serverError is the answer to what is no fault of the client.
func (s *Server) serverError(path string, err error) *refusal {
	f := incident()
	s.logger.Error("queue", "path", path, "err", err, "error", f.Error)
	return f
}

// incident is how the first queue spoke of an error of its own.
func incident() *refusal {
	f := refuse(http.StatusInternalServerError, "Internal Server Error")
	f.Error = map[string]string{"info": "Ask administrator to lookup incidentId in log-file", "incidentId": randomHex()}
	return f
}

// decode reads the body of a call, which must follow its schema.
func decode[T schema.Document](in input) (T, *refusal) {
	var want T
	if !in.isJSON() {
		return want, malformed[T](fmt.Sprintf("Content-Type must be application/json, not %q", in.contentType))
	}
	doc, err := schema.Decode[T]("request", in.body)
	if err != nil {
		return want, malformed[T](err.Error())
	}
	return doc, nil
}

// malformed refuses a body that does not follow its schema.
func malformed[T schema.Document](reason string) *refusal {
	var want T
	return refuseFor(http.StatusBadRequest, "Request payload must follow the schema: http://schemas.taskcluster.net/queue/v1/"+want.SchemaName()+".json#", reason)
}

// checkRun refuses the number of a run that cannot be one.
func checkRun[T schema.Document](s *Server, run schema.RunID) *refusal {
	if first := s.quirks().firstRun(); run < first {
		return malformed[T](fmt.Sprintf("/runId: want at least %d, got %d", first, run))
	}
	return nil
}

// gone is the answer to an error of the queue: 404 with message if the task is not, or no longer, the worker's.
func (s *Server) gone(in input, err error, message string) *refusal {
	if errors.Is(err, errUnknownTask) || errors.Is(err, errNotOwned) || errors.Is(err, errTaken) {
		return refuse(http.StatusNotFound, message)
	}
	return s.serverError(in.args[0], err)
}

func (s *Server) newTask(in input) (any, *refusal) {
	def, refused := decode[schema.Task](in)
	if refused != nil {
		return nil, refused
	}
	status, err := s.queue.add(schema.NewTaskID(), def, in.body)
	if err != nil {
		return nil, s.serverError("task/new", err)
	}
	return schema.StatusAnswer{Status: status}, nil
}

func (s *Server) defineTasks(in input) (any, *refusal) {
	request, refused := decode[schema.DefineTasksRequest](in)
	if refused != nil {
		return nil, refused
	}
	expires := s.options.Clock().Add(s.options.ArtifactURLLife)
	answer := schema.DefineTasksAnswer{Expires: schema.Timestamp(expires), Tasks: map[schema.TaskID]schema.TaskPutURLs{}}
	for range request.TasksRequested {
		id := schema.NewTaskID()
		answer.Tasks[id] = schema.TaskPutURLs{TaskPutURL: s.putURL(string(id)+"/task.json", "application/json", expires)}
	}
	return answer, nil
}

func (s *Server) scheduleTask(in input) (any, *refusal) {
	key := string(in.task()) + "/task.json"
	data, err := s.objects.read(key)
	if err != nil {
		return nil, refuseFor(http.StatusBadRequest, "Task definition not uploaded!", "Couldn't fetch: "+s.readURL(key))
	}
	def, err := schema.Decode[schema.Task]("task.json", data)
	if err != nil {
		return nil, refuseFor(http.StatusBadRequest, "Task definition must follow the schema: http://schemas.taskcluster.net/queue/v1/task.json#", err.Error())
	}
	return schema.StatusAnswer{Status: s.queue.schedule(in.task(), def)}, nil
}

func (s *Server) taskStatus(in input) (any, *refusal) {
	status, err := s.queue.status(in.task())
	if err != nil {
		return nil, s.gone(in, err, "Task not found or already resolved")
	}
	return schema.StatusAnswer{Status: status}, nil
}

func (s *Server) claimTask(in input) (any, *refusal) {
	request, refused := decode[schema.ClaimRequest](in)
	if refused != nil {
		return nil, refused
	}
	var c claimed
	var err error
	if request.RunID == nil {
		c, err = s.queue.claim(in.task(), request.Worker, in.arrivedAfter)
	} else if refused := checkRun[schema.ClaimRequest](s, *request.RunID); refused != nil {
		return nil, refused
	} else {
		c, err = s.queue.reclaim(in.task(), *request.RunID, request.Worker)
	}
	switch {
	case s.quirks().unknownClaim(err):
		return nil, s.serverError(in.args[0], err)
	case err != nil:
		return nil, s.gone(in, err, "Task not found, or already taken")
	}
	return s.claimAnswer(c), nil
}

// claimAnswer is the answer to a claim or a reclaim.
func (s *Server) claimAnswer(c claimed) schema.ClaimAnswer {
	folder := runPath(c.task, c.run)
	return schema.ClaimAnswer{
		Status:       c.told,
		RunID:        c.run,
		LogsPutURL:   s.putURL(folder+"logs.json", "application/json", c.until),
		ResultPutURL: s.putURL(folder+"result.json", "application/json", c.until),
	}
}

func (s *Server) claimWork(in input) (any, *refusal) {
	request, refused := decode[schema.ClaimRequest](in)
	if refused != nil {
		return nil, refused
	}
	c, found := s.queue.claimWork(in.args[0], in.args[1], request.Worker)
	if !found {
		return nil, nil
	}
	return s.claimAnswer(c), nil
}

func (s *Server) artifactURLs(in input) (any, *refusal) {
	request, refused := decode[schema.ArtifactURLsRequest](in)
	if refused != nil {
		return nil, refused
	}
	if refused := checkRun[schema.ArtifactURLsRequest](s, request.RunID); refused != nil {
		return nil, refused
	}
	if refused := s.checkNames(request); refused != nil {
		return nil, refused
	}
	if refused := s.refuseMultipart(request); refused != nil {
		return nil, refused
	}
	status, err := s.queue.check(in.task(), request.RunID, request.Worker)
	if err != nil {
		return nil, s.gone(in, err, "Task not found or already resolved")
	}
	expires := s.options.Clock().Add(s.options.ArtifactURLLife)
	answer := schema.ArtifactURLsAnswer{Multipart: s.multipartOffer(),
		Status: status, Expires: schema.Timestamp(expires), Artifacts: map[string]schema.ArtifactURLs{}}
	for name, artifact := range request.Artifacts {
		key := runPath(in.task(), request.RunID) + "artifacts/" + name
		parts, err := s.multipartURLs(key, artifact, expires)
		if err != nil {
			return nil, s.serverError(in.args[0], err)
		}
		answer.Artifacts[name] = schema.ArtifactURLs{
			ArtifactPutURL: s.putURL(key, artifact.ContentType, expires),
			ArtifactURL:    s.quirks().artifactURL(s.storageURL, key),
			ContentType:    artifact.ContentType,
			Multipart:      parts,
		}
	}
	return answer, nil
}

// checkNames refuses a request for the sake of one name in it.
func (s *Server) checkNames(request schema.ArtifactURLsRequest) *refusal {
	for name := range request.Artifacts {
		if s.quirks().unsignable(name) {
			return s.serverError("artifact-urls", fmt.Errorf("artifact name %q would have to be escaped", name))
		}
		if err := schema.ArtifactName(name); err != nil {
			return refuseFor(http.StatusBadRequest, "Invalid artifact name", err.Error())
		}
	}
	return nil
}

func (s *Server) completeTask(in input) (any, *refusal) {
	request, refused := decode[schema.CompletedRequest](in)
	if refused == nil {
		refused = checkRun[schema.CompletedRequest](s, request.RunID)
	}
	if refused != nil {
		return nil, refused
	}
	status, err := s.queue.complete(in.task(), request)
	if err != nil {
		return nil, s.gone(in, err, "Task not found")
	}
	return schema.StatusAnswer{Status: status}, nil
}

func (s *Server) rerunTask(in input) (any, *refusal) {
	status, err := s.queue.rerun(in.task())
	switch {
	case errors.Is(err, errUnknownTask):
		return nil, refuseFor(http.StatusBadRequest, "Task definition not uploaded and never scheduled!", "Couldn't fetch: "+s.readURL(string(in.task())+"/task.json"))
	case err != nil:
		return nil, s.serverError(in.args[0], err)
	}
	return schema.StatusAnswer{Status: status}, nil
}

func (s *Server) amqp(input) (any, *refusal) {
	if s.options.AMQP.IsZero() {
		return nil, refuse(http.StatusNotFound, "This queue has no message broker; its events are at "+s.EventsURL())
	}
	return schema.AMQPAnswer{URL: s.options.AMQP}, nil
}

func (s *Server) pendingTasks(in input) (any, *refusal) {
	return map[string][]schema.TaskStatus{"tasks": s.queue.pending(in.args[0])}, nil
}
