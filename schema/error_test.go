package schema_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskcluster/upload-agent/schema"
)

func problems(t *testing.T, err error) []schema.Problem {
	t.Helper()
	var e *schema.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %T %v, want a *schema.Error", err, err)
	}
	return e.Problems
}

func TestAllProblemsInTheOrderOfTheDocument(t *testing.T) {
	text := `{"versiön": "ä", "version": "1",
  "artifacts": {"b": "x", "a": 1}, "statistics": [],
	"metadata": {"workerGroup": "", "success": 0,
	"workerid": "w"}
}`
	want := []schema.Problem{
		{Pointer: "/result", Line: 1, Column: 1, Expected: "an object", Found: "no such member"},
		{Pointer: "/versiön", Line: 1, Column: 2, Expected: `no unknown member (perhaps "version" was meant)`, Found: `"versiön"`},
		{Pointer: "/version", Line: 1, Column: 29, Expected: `"0.2.0"`, Found: `"1"`},
		{Pointer: "/artifacts/b", Line: 2, Column: 22, Expected: "an absolute URL", Found: `"x"`},
		{Pointer: "/artifacts/a", Line: 2, Column: 32, Expected: "an absolute URL", Found: "1"},
		{Pointer: "/statistics", Line: 2, Column: 50, Expected: "an object", Found: "an array"},
		{Pointer: "/metadata/workerId", Line: 3, Column: 14, Expected: "an identifier of 1 to 22 characters from A-Z a-z 0-9 _ -", Found: "no such member"},
		{Pointer: "/metadata/workerGroup", Line: 3, Column: 30, Expected: "an identifier of 1 to 22 characters from A-Z a-z 0-9 _ -", Found: `""`},
		{Pointer: "/metadata/success", Line: 3, Column: 45, Expected: "true or false", Found: "0"},
		{Pointer: "/metadata/workerid", Line: 4, Column: 2, Expected: `no unknown member (perhaps "workerId" was meant)`, Found: `"workerid"`},
	}
	for range 20 { // maps are walked in another order each time
		if diff := cmp.Diff(want, problems(t, schema.Validate("result", "", []byte(text)))); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	}
}

func TestErrorText(t *testing.T) {
	p := schema.Problem{Pointer: "/a\x1b[31m\n", Line: 3, Column: 1, Expected: "x", Found: "y"}
	e := &schema.Error{Document: "claim", File: "claim.json", Problems: []schema.Problem{p}}
	if got, want := e.Error(), `claim.json: /a\x1b[31m\n: want x, got y (line 3)`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	e.Problems = append(e.Problems, p, p)
	if got, want := e.Error(), `claim.json: /a\x1b[31m\n: want x, got y (line 3) (and 2 more problems)`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := (&schema.Error{Document: "claim"}).Error(), "claim: not valid"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLimits(t *testing.T) {
	nested := func(levels int) string { // the document and its error member are two of them
		return `{"message":"m","error":` + strings.Repeat("[", levels-1) + strings.Repeat("]", levels-1) + `}`
	}
	if err := schema.Validate("error-response", "", []byte(nested(schema.MaxDepth))); err != nil {
		t.Error(err)
	}
	err := schema.Validate("error-response", "", []byte(nested(schema.MaxDepth+1)))
	want := "want at most 100 levels of arrays and objects, got one more (line 1)"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	full := `{"message":"` + strings.Repeat("x", schema.MaxBytes-len(`{"message":""}`)) + `"}`
	if err := schema.Validate("error-response", "", []byte(full)); err != nil {
		t.Error(err)
	}
	err = schema.Validate("error-response", "big.json", []byte(full+" "))
	if want := "big.json: want at most 33554432 bytes, got 33554433 bytes (line 1)"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// bigResult is a result with n artifacts on one line, of about 130 bytes each.
func bigResult(n int, url string) []byte {
	var b strings.Builder
	b.WriteString(`{"version":"0.2.0","artifacts":{`)
	for i := range n {
		fmt.Fprintf(&b, `"public/build/output-%06d.tar.gz":"%s/output-%06d.tar.gz",`, i, url, i)
	}
	b.WriteString(`"last":"http://e.com/"},"statistics":{"started":"2014-04-26T12:00:00Z","finished":"2014-04-26T12:00:00Z"},` +
		`"metadata":{"workerGroup":"g","workerId":"w","success":true},"result":{}}`)
	return []byte(b.String())
}

const artifactsURL = "http://tasks.taskcluster.net/YpsYjqE5Q_-NIvzSmpNnFA/runs/0/artifacts/public/build"

// Fifty thousand problems on one line take well under a second, but a minute and more if anything is quadratic.
func TestManyProblems(t *testing.T) {
	const n = 50_000
	start := time.Now()
	all := problems(t, schema.Validate("result", "", bigResult(n, "no-url")))
	if len(all) != n {
		t.Fatalf("got %d problems, want %d", len(all), n)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
	last := all[n-1]
	if last.Pointer != "/artifacts/public~1build~1output-049999.tar.gz" || last.Line != 1 || last.Column < 1_000_000 {
		t.Errorf("the last one is %+v", last)
	}
}

func BenchmarkDecodeResultOf10000Artifacts(b *testing.B) {
	data := bigResult(10_000, artifactsURL)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := schema.Decode[schema.Result]("", data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeResultOf10000Artifacts(b *testing.B) {
	result, err := schema.Decode[schema.Result]("", bigResult(10_000, artifactsURL))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := schema.Encode(result); err != nil {
			b.Fatal(err)
		}
	}
}
