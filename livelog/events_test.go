package livelog_test

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/livelog"
)

// event is a Server-Sent Event.
type event struct{ name, id, data string }

// events reads Server-Sent Events, as the HTML standard has them, but for what a Handler never sends.
type events struct {
	lines    *bufio.Scanner
	id       string // the last one
	comments int
}

func newEvents(r io.Reader) *events {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	return &events{lines: lines}
}

func (s *events) next() (event, error) {
	var e event
	for s.lines.Scan() {
		field, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch {
		case s.lines.Text() == "" && e.data == "": // a browser does not dispatch it
		case s.lines.Text() == "":
			e.id = s.id
			return e, nil
		case strings.HasPrefix(s.lines.Text(), ":"):
			s.comments++
		case field == "event":
			e.name = value
		case field == "id":
			s.id = value
		case field == "data":
			e.data += value
		default:
			return e, fmt.Errorf("line %.100q", s.lines.Text())
		}
	}
	if err := s.lines.Err(); err != nil {
		return e, err
	}
	return e, io.ErrUnexpectedEOF
}

// sseLog reads the log out of its events.
type sseLog struct {
	t    testing.TB
	r    *events
	off  int64 // if negative: found in the first event
	rest []byte
}

func (b *sseLog) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		e, err := b.r.next()
		if err != nil {
			return 0, err
		}
		if e.name == "end" {
			if e.data != e.id {
				b.t.Errorf("the end is %+v", e)
			}
			return 0, io.EOF
		}
		if b.rest, err = base64.StdEncoding.DecodeString(e.data); err != nil {
			return 0, err
		}
		if b.off < 0 {
			id, _ := strconv.ParseInt(e.id, 10, 64)
			b.off = id - int64(len(b.rest))
		}
		b.off += int64(len(b.rest))
		if e.id != strconv.FormatInt(b.off, 10) || e.name != "" {
			return 0, fmt.Errorf("event %q has id %s, want %d", e.name, e.id, b.off)
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Every byte comes through, and whoever reconnects after any event goes on where it was.
func TestHandlerEventsResume(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	data := []byte("\r\n\n\r: \x00\xff\xc3\x28data: x\n\n\nid: 7\n\n\u2028\ufeff")
	for i := range 60_000 {
		data = append(data, byte(i), byte(random.Uint32()))
	}
	log := string(data)
	ctx := within(t)
	s := newSpool(t)
	url := serveSpool(t, s, nil, public).URL
	half := len(log) / 2
	io.WriteString(s, log[:half])

	var got strings.Builder
	lastID := ""
	connections := 0
	for ended := false; !ended; connections++ {
		header := []string{"Accept: text/event-stream"}
		if lastID != "" {
			header = append(header, "Last-Event-ID: "+lastID)
		}
		resp := ask(t, ctx, "GET", url+"?offset=0", header...)
		if resp.StatusCode == http.StatusNoContent { // the connection was torn before the event that says so
			break
		}
		if resp.Header.Get("Content-Type") != "text/event-stream" || resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status, resp.Header)
		}
		stream := newEvents(resp.Body)
		for range 1 + connections%2 { // then the connection is torn
			e, err := stream.next()
			if err != nil {
				t.Fatal(err)
			}
			lastID = e.id
			if ended = e.name == "end"; ended {
				break
			}
			data, err := base64.StdEncoding.DecodeString(e.data)
			if err != nil {
				t.Fatal(err)
			}
			got.Write(data)
			if fmt.Sprint(got.Len()) != e.id {
				t.Fatalf("event %s after %d bytes", e.id, got.Len())
			}
			if got.Len() == half {
				io.WriteString(s, log[half:])
				s.Close()
			}
		}
		resp.Body.Close()
	}
	if got.String() != log || connections < 3 {
		t.Errorf("%d bytes in %d connections: %s", got.Len(), connections, firstDifference(got.String(), log))
	}
	for id, status := range map[string]int{
		fmt.Sprint(len(log)): 204, fmt.Sprint(len(log) + 1): 416, "-1": 400, "x": 400, "9223372036854775807": 416, "9223372036854775808": 400,
	} {
		if resp := ask(t, ctx, "GET", url, "Accept: text/event-stream", "Last-Event-ID: "+id); resp.StatusCode != status {
			t.Errorf("after %s: %s, want %d", id, resp.Status, status)
		}
	}
}

// Events can begin with the last lines; a reconnection with the same URL goes on all the same.
func TestHandlerEventsBeginWithTheLastLines(t *testing.T) {
	s := newSpool(t)
	url := serveSpool(t, s, nil, public).URL
	io.WriteString(s, "one\ntwo\nthree\n")
	s.Close()
	for id, want := range map[string]string{"": "two\nthree\n", "1": "ne\ntwo\nthree\n"} {
		resp := ask(t, within(t), "GET", url+"?lines=2", "Accept: text/html, text/event-stream", "Last-Event-ID: "+id)
		e, err := newEvents(resp.Body).next()
		if got, _ := base64.StdEncoding.DecodeString(e.data); string(got) != want || e.id != "14" || err != nil {
			t.Errorf("after %q: %q, %+v, %v", id, got, e, err)
		}
	}
	empty := newSpool(t)
	empty.Close()
	resp := ask(t, within(t), "GET", serveSpool(t, empty, nil, public).URL, "Accept: text/event-stream")
	if e, err := newEvents(resp.Body).next(); e != (event{"end", "0", "0"}) || err != nil {
		t.Errorf("an empty log: %+v, %v", e, err)
	}
}

// Who waits for a place that the log never gets to is told where it ended.
func TestHandlerEventsAheadOfTheEnd(t *testing.T) {
	s := newSpool(t)
	url := serveSpool(t, s, nil, public).URL
	stream := newEvents(ask(t, within(t), "GET", url, "Accept: text/event-stream", "Last-Event-ID: 10").Body)
	io.WriteString(s, "one\n")
	s.Close()
	if e, err := stream.next(); e != (event{"end", "4", "4"}) || err != nil {
		t.Errorf("%+v, %v", e, err)
	}
}

// A quiet log sends comments, so that the connection lives.
func TestHandlerEventsKeepAlive(t *testing.T) {
	s := newSpool(t)
	url := serveSpool(t, s, nil, livelog.HandlerOptions{Public: true, KeepAlive: time.Millisecond}).URL
	stream := newEvents(ask(t, within(t), "GET", url, "Accept: text/event-stream").Body)
	for range 3 {
		if !stream.lines.Scan() || stream.lines.Text() != ":" || !stream.lines.Scan() || stream.lines.Text() != "" {
			t.Fatalf("%q, %v", stream.lines.Text(), stream.lines.Err())
		}
	}
	io.WriteString(s, "one\n")
	s.Close()
	if e, err := stream.next(); e != (event{"", "4", "b25lCg=="}) || err != nil {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := stream.next(); e != (event{"end", "4", "4"}) || err != nil {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := stream.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}
