package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/taskcluster/upload-agent/agent/agenttest/versitygw"
)

// withS3 gives a script a bucket of a real S3 server: it is at $S3, with credentials as the SDK takes them; $S3_SECRET is what nobody may show.
func withS3(env *testscript.Env, s *versitygw.Server, bucket string) {
	env.Setenv("S3", s.Endpoint+"/"+bucket)
	env.Setenv("S3_SECRET", s.SecretAccessKey)
	env.Setenv("AWS_ACCESS_KEY_ID", s.AccessKeyID)
	env.Setenv("AWS_SECRET_ACCESS_KEY", s.SecretAccessKey)
	env.Setenv("AWS_REGION", s.Region)
}

func TestScriptsWithS3(t *testing.T) {
	t.Parallel()
	server := versitygw.StartFor(t, "bucket")
	t.Run("scripts", func(t *testing.T) { // which run in parallel, and end before the server does
		testscript.Run(t, testscript.Params{
			Dir: "testdata/s3",
			Setup: func(env *testscript.Env) error {
				env.Setenv("TMPDIR", env.WorkDir)
				env.Setenv("XDG_STATE_HOME", env.WorkDir+"/home")
				withS3(env, server, "bucket")
				return readmeS3(env)
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){"freeport": freePort, "newtask": newTask},
		})
	})
}

// readmeS3 writes what the README says of --s3 into two scripts, of whoever starts a server and of whoever tries it, with a free port and a command that works here.
func readmeS3(env *testscript.Env) error {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		return err
	}
	block := regexp.MustCompile(`(?m)^    (export AWS_ACCESS_KEY_ID.*)\n    (ROOT_ACCESS_KEY.*) &\n    (upload-agent simulate --s3 .* -- )make test\n`).FindSubmatch(readme)
	if block == nil {
		return errors.New("the README does not show how to try --s3")
	}
	port := strings.NewReplacer("7070", "$PORT")
	server := fmt.Sprintf("%s\nexec env %s\n", block[1], port.Replace(string(block[2])))
	try := fmt.Sprintf("%s\n%secho it works\n", block[1], port.Replace(string(block[3])))
	path, _ := versitygw.Find()
	env.Setenv("PATH", filepath.Dir(path)+string(os.PathListSeparator)+env.Getenv("PATH"))
	return errors.Join(os.WriteFile(env.WorkDir+"/server.sh", []byte(server), 0o600), os.WriteFile(env.WorkDir+"/try.sh", []byte(try), 0o600))
}

// s3Condition tells the scripts that want a bucket, too, whether there is one.
func s3Condition(have bool) func(string) (bool, error) {
	return func(condition string) (bool, error) {
		if condition != "s3" {
			return false, fmt.Errorf("there is no condition %q", condition)
		}
		return have, nil
	}
}

// mayHaveS3 says whether there is a real S3 server to test with, or has to be.
func mayHaveS3() bool {
	_, built := versitygw.Find()
	return built || os.Getenv("UPLOAD_AGENT_REQUIRE_REAL") == "1"
}
