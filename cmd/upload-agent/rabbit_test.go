package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/taskcluster/upload-agent/agent/agenttest/amqp/rabbit"
	"github.com/taskcluster/upload-agent/agent/agenttest/versitygw"
)

// startRabbit starts a RabbitMQ; without one the test is skipped, but not where everything has to be tested.
func startRabbit(t *testing.T) *rabbit.Broker {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	broker, err := rabbit.Start(ctx, t.TempDir())
	if errors.Is(err, rabbit.ErrMissing) && os.Getenv("UPLOAD_AGENT_REQUIRE_REAL") != "1" {
		t.Skip("NO RABBITMQ ON THIS MACHINE: --amqp is not tested. " + err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Stop)
	return broker
}

// The scripts that want a broker: it is at $AMQP, and at $AMQP_ADDR; $AMQP_PASSWORD is what nobody may show.
func TestScriptsWithRabbitMQ(t *testing.T) {
	t.Parallel()
	broker := startRabbit(t)
	url := broker.URL().Reveal()
	_, password, _ := strings.Cut(strings.TrimPrefix(url, "amqp://"), ":")
	password, _, _ = strings.Cut(password, "@")
	var s3 *versitygw.Server
	if mayHaveS3() {
		s3 = versitygw.StartFor(t, "bucket")
	}
	t.Run("scripts", func(t *testing.T) { // which run in parallel, and end before the broker does
		testscript.Run(t, testscript.Params{
			Dir:       "testdata/rabbit",
			Condition: s3Condition(s3 != nil),
			Setup: func(env *testscript.Env) error {
				env.Setenv("TMPDIR", env.WorkDir)
				env.Setenv("XDG_STATE_HOME", env.WorkDir+"/home")
				env.Setenv("AMQP", url)
				env.Setenv("AMQP_ADDR", broker.Addr())
				env.Setenv("AMQP_PASSWORD", password)
				if s3 != nil {
					withS3(env, s3, "bucket")
				}
				return nil
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){"freeport": freePort, "newtask": newTask, "foreignqueue": foreignQueue},
		})
	})
}

// foreignQueue NAME sets a variable to the URL of a queue that is not an embedded one: all that it knows is where its broker is.
func foreignQueue(ts *testscript.TestScript, _ bool, args []string) {
	answer, err := json.Marshal(map[string]string{"url": ts.Getenv("AMQP")})
	ts.Check(err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/settings/amqp-connection-string" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(answer)
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL+"/v1")
}
