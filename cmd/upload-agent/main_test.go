package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/queue"
	"github.com/taskcluster/upload-agent/schema"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"upload-agent": main, "count-interrupts": countInterrupts})
}

// countInterrupts is a program that says how many interrupts it has got by the time that it has got one and has read a line.
func countInterrupts() {
	caught := make(chan os.Signal, 10)
	signal.Notify(caught, os.Interrupt)
	fmt.Println("counting")
	<-caught
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	fmt.Printf("read %q, interrupts: %d\n", line, 1+len(caught))
	os.Exit(7)
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("TMPDIR", env.WorkDir)
			env.Setenv("XDG_STATE_HOME", env.WorkDir+"/home") // that of who runs the test is not ours
			env.Values[serverKey{}] = new(*agenttest.Server)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"badworker": badWorker,
			"fault":     injectFault,
			"freeport":  freePort,
			"loseclaim": loseClaim,
			"newtask":   newTask,
			"server":    startServer,
		},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
	})
}

// freePort NAME... sets each variable to a port that nobody listens on.
func freePort(ts *testscript.TestScript, _ bool, names []string) {
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer l.Close()
		ts.Setenv(name, fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
	}
}

// newTask NAME sets a variable to the id of a new task of the queue at $QUEUE, once that answers.
func newTask(ts *testscript.TestScript, _ bool, args []string) {
	q, err := queue.New(ts.Getenv("QUEUE"), queue.Options{MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond})
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	now := time.Now()
	status, err := q.CreateTask(ctx, schema.Task{
		Version: schema.Version, ProvisionerID: "p", WorkerType: "w", Retries: 1, Timeout: 60,
		Created: schema.Timestamp(now), Deadline: schema.Timestamp(now.Add(time.Hour)), Payload: map[string]any{},
		Metadata: schema.TaskMetadata{Name: "scripted", Owner: "owner@example.com", Source: "https://example.com/"}, Tags: map[string]string{},
	})
	ts.Check(err)
	ts.Setenv(args[0], string(status.TaskID))
}

// badWorker TASK claims the task at $QUEUE and reports it completed, with nothing stored.
func badWorker(ts *testscript.TestScript, _ bool, args []string) {
	q, err := queue.New(ts.Getenv("QUEUE"), queue.Options{})
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	claim, err := q.Claim(ctx, schema.TaskID(args[0]), schema.Worker{WorkerGroup: "bad", WorkerID: "bad"})
	ts.Check(err)
	_, err = q.Completed(ctx, claim.Task(), schema.CompletedRequest{RunID: claim.RunID, Worker: claim.Worker})
	ts.Check(err)
}

// startServer CLAIMLENGTH FAULTS starts a queue with short claims, which no command line can ask for.
func startServer(ts *testscript.TestScript, _ bool, args []string) {
	length, err := time.ParseDuration(args[0])
	ts.Check(err)
	faults, err := agenttest.ParseFaults(args[1], 1)
	ts.Check(err)
	server, err := agenttest.New(ts.MkAbs("storage"), agenttest.Options{ClaimLength: length, Faults: faults})
	ts.Check(err)
	ts.Defer(func() { server.Close() })
	ts.Setenv("QUEUE", server.QueueURL())
	ts.Setenv("STORAGE", server.StorageURL())
	*serverOf(ts) = server
}

// serverKey is where a script keeps its server.
type serverKey struct{}

func serverOf(ts *testscript.TestScript) **agenttest.Server {
	return ts.Value(serverKey{}).(**agenttest.Server)
}

// injectFault WHAT KIND PATH has the script's server misbehave once: at the next such request whose path contains PATH.
func injectFault(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check((*serverOf(ts)).Inject(agenttest.Fault{What: args[0], Kind: args[1], Path: args[2], Count: 1}))
}

// loseClaim TASK takes a running task away from its worker.
func loseClaim(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check((*serverOf(ts)).LoseClaim(schema.TaskID(args[0])))
}
