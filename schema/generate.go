package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	idPattern   = `^[A-Za-z0-9_-]{1,22}$`
	slugPattern = `^[A-Za-z0-9_-]{22}$`
	// utcPattern adds to the format date-time that the offset is that of UTC.
	utcPattern = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|\+00:00)$`
	// durationPattern, ratePattern and sizePattern are what the flags take.
	durationPattern = `^(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$|^0$`
	ratePattern     = `^([0-9]+(\.[0-9]*)?|\.[0-9]+)( *([KMGkmg]([Ii]?[Bb])?|[Bb])?)(/s)?$`
	sizePattern     = `^([0-9]+(\.[0-9]*)?|\.[0-9]+)( *([KMGTkmgt][Ii]?)?[Bb])?$`
)

// form is one document's schema: as a tree, to say what is expected where, and compiled, which takes longer than a run needs for anything
// else, and is not done before a document is not plainly right.
type form struct {
	tree     *jsonschema.Schema
	compiled func() (*validator.Schema, error)
	right    quick            // of the whole document; may be nil
	quick    map[string]quick // what need not be checked against compiled, see thinned
}

// validate checks a parsed document. The error is a [validator.ValidationError], or says that there is no check.
func (f form) validate(doc any) error {
	if f.right != nil && f.right(doc) {
		return nil
	}
	compiled, err := f.compiled()
	if err != nil {
		return err
	}
	return compiled.Validate(f.thinned(doc))
}

// lazyForms are the two forms of a document, each made when it is first needed.
type lazyForms struct{ strict, lenient func() form }

var forms = func() map[string]lazyForms {
	all := make(map[string]lazyForms, len(catalog))
	for _, e := range catalog {
		all[e.name()] = lazyForms{
			strict:  sync.OnceValue(func() form { return newForm(e, false) }),
			lenient: sync.OnceValue(func() form { return newForm(e, true) }),
		}
	}
	return all
}()

// JSONSchema is the JSON Schema (draft 2020-12) of a document, generated from its Go type and indented.
// [Names] lists the names; another one is an *[UnknownError].
func JSONSchema(name string) ([]byte, error) {
	e, ok := entryNamed(name)
	if !ok {
		return nil, &UnknownError{Name: name}
	}
	return render(generate(e, false))
}

func schemaID(name string) string {
	return "http://schemas.taskcluster.net/queue/v1/" + name + ".json#"
}

// generate makes the schema of a document; a lenient one accepts unknown members.
func generate(e entry, lenient bool) *jsonschema.Schema {
	r := jsonschema.Reflector{
		Anonymous:                 true,
		DoNotReference:            true,
		ExpandedStruct:            true,
		AllowAdditionalProperties: lenient,
		Mapper:                    leaf,
		LookupComment: func(t reflect.Type, field string) string {
			if field != "" {
				return ""
			}
			return parts[t]
		},
	}
	s := r.Reflect(e.doc)
	s.ID = jsonschema.ID(schemaID(e.name()))
	s.Title, s.Description = e.title, e.about
	if version, ok := s.Properties.Get("version"); ok {
		version.Const = Version
	}
	if e.extend != nil {
		e.extend(s)
	}
	return s
}

// leaf is the schema of the types that carry a limit of their own.
func leaf(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[time.Time]():
		return &jsonschema.Schema{Type: "string", Format: "date-time", Pattern: utcPattern}
	case reflect.TypeFor[SignedURL]():
		return &jsonschema.Schema{Type: "string", Format: "uri", Title: signedTitle}
	case reflect.TypeFor[TaskID]():
		return &jsonschema.Schema{Type: "string", Pattern: slugPattern}
	case reflect.TypeFor[RunID]():
		return &jsonschema.Schema{Type: "integer", Format: "int32", Minimum: "0", Maximum: "1000"}
	case reflect.TypeFor[TaskState]():
		return &jsonschema.Schema{Type: "string", Enum: []any{Pending, Running, Completed, Failed}}
	case reflect.TypeFor[AgentState]():
		return &jsonschema.Schema{Type: "string", Enum: []any{AgentStarting, AgentReady, AgentStopping}}
	case reflect.TypeFor[Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: durationPattern}
	case reflect.TypeFor[Size]():
		return &jsonschema.Schema{Type: "string", Pattern: sizePattern}
	case reflect.TypeFor[Rate]():
		return &jsonschema.Schema{Type: "string", Pattern: ratePattern}
	case reflect.TypeFor[Reason]():
		return &jsonschema.Schema{Type: "string", Enum: []any{
			ReasonNone, ReasonDeadlineExceeded, ReasonRetriesExhausted, ReasonCanceled, ReasonRerunRequested,
		}}
	case reflect.TypeFor[Phase]():
		return &jsonschema.Schema{Type: "string", Enum: []any{
			PhaseRefused, PhaseWaiting, PhaseRunning, PhaseFinishing, PhaseResultStored, PhaseCompleted, PhaseClaimLost, PhaseFailed,
		}}
	case reflect.TypeFor[int]():
		return &jsonschema.Schema{Type: "integer", Format: "int32"}
	case reflect.TypeFor[int64]():
		return &jsonschema.Schema{Type: "integer", Format: "int64"}
	}
	return nil
}

func render(s *jsonschema.Schema) ([]byte, error) {
	compact, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, compact, "", "  "); err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func newForm(e entry, lenient bool) form {
	tree := generate(e, lenient)
	return form{
		tree:     tree,
		compiled: sync.OnceValues(func() (*validator.Schema, error) { return compile(e.name(), tree) }),
		right:    quickly(tree),
		quick:    quickMembers(tree),
	}
}

func compile(name string, tree *jsonschema.Schema) (*validator.Schema, error) {
	text, err := render(tree)
	if err != nil {
		return nil, err
	}
	parsed, err := validator.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	c := validator.NewCompiler()
	c.AssertFormat()
	c.AssertContent()
	c.RegisterFormat(&validator.Format{Name: "date-time", Validate: isTime})
	c.RegisterFormat(&validator.Format{Name: "int32", Validate: isInteger(32)})
	c.RegisterFormat(&validator.Format{Name: "int64", Validate: isInteger(64)})
	id := schemaID(name)
	if err := c.AddResource(id, parsed); err != nil {
		return nil, fmt.Errorf("add schema %s: %w", name, err)
	}
	compiled, err := c.Compile(id)
	if err != nil {
		return nil, fmt.Errorf("compile schema %s: %w", name, err)
	}
	return compiled, nil
}

// isTime accepts what time.Time can hold: no leap second, which the library's own check lets pass.
func isTime(v any) error {
	s, ok := v.(string)
	if !ok {
		return nil
	}
	var t time.Time
	return t.UnmarshalText([]byte(s))
}

// isInteger accepts plain digits that fit: to JSON Schema 1.0 and 1e2 are integers too, to a Go int they are not.
func isInteger(bits int) func(v any) error {
	return func(v any) error {
		n, ok := v.(json.Number)
		if !ok {
			return nil
		}
		_, err := strconv.ParseInt(n.String(), 10, bits)
		return err
	}
}
