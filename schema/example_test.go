package schema_test

import (
	"errors"
	"fmt"

	"github.com/taskcluster/upload-agent/schema"
)

// A log is found through logs.json.
func ExampleDecode() {
	data := []byte(`{"version": "0.2.0", "logs": {"terminal.log": "http://tasks.example.com/YpsYjqE5Q_-NIvzSmpNnFA/runs/0/terminal.log"}}`)
	logs, err := schema.Decode[schema.Logs]("logs.json", data)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(logs.Logs["terminal.log"])

	_, err = schema.Decode[schema.Logs]("logs.json", []byte(`{"version": "0.2.0", "logs": {"terminal.log": "terminal.log"}}`))
	fmt.Println(err)
	// Output:
	// http://tasks.example.com/YpsYjqE5Q_-NIvzSmpNnFA/runs/0/terminal.log
	// logs.json: /logs/terminal.log: want an absolute URL, got "terminal.log" (line 1)
}

// All problems are reported, in the order of the document.
func ExampleValidate() {
	err := schema.Validate("task-completed-request", "request.json", []byte(`{
  "runId": "0",
  "sucess": true,
  "workerGroup": "us-west-2c",
  "workerId": "i-0abc"
}`))
	fmt.Println(err)
	if invalid, ok := errors.AsType[*schema.Error](err); ok {
		for _, p := range invalid.Problems {
			fmt.Printf("%d:%d %s: got %s\n", p.Line, p.Column, p.Pointer, p.Found)
		}
	}
	// Output:
	// request.json: /success: want true or false, got no such member (line 1) (and 2 more problems)
	// 1:1 /success: got no such member
	// 2:12 /runId: got "0"
	// 3:3 /sucess: got "sucess"
}

// A signed URL prints redacted; only Reveal gives it away.
func ExampleSignedURL() {
	u := schema.NewSignedURL("https://s3.example.com/logs.json?Signature=secret")
	fmt.Println(u)
	fmt.Println(len(u.Reveal()))
	// Output:
	// https://s3.example.com/logs.json?<redacted>
	// 49
}
