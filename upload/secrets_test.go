package upload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// A signed URL is a password, whatever goes wrong.
func TestNoSignedURLIsShown(t *testing.T) {
	for name, test := range map[string]struct {
		script  []step
		grant   func(*fakeStorage) upload.Grant
		options func(*upload.Options)
		put     upload.PutOptions
		path    string // of a file, instead of one byte
	}{
		"stored":          {},
		"retried":         {script: []step{plain(500), reset, plain(503)}},
		"expired":         {script: []step{refuse(403, "AccessDenied", "Request has expired")}},
		"denied":          {script: []step{refuse(403, "SignatureDoesNotMatch", "Check your key")}},
		"rejected":        {script: []step{refuse(400, "EntityTooLarge", "Too large")}},
		"digest":          {script: []step{refuse(400, "BadDigest", "No"), refuse(400, "BadDigest", "No")}},
		"stalled":         {script: []step{hang, hang, hang}, options: func(o *upload.Options) { o.StallTimeout = 50 * time.Millisecond }},
		"redirect":        {script: []step{to(301, "http://other.test/?Signature="+canary)}},
		"redirect to ftp": {script: []step{to(307, "ftp://other.test/?Signature="+canary)}},
		"redirect junk":   {script: []step{to(307, "http://%zz/?Signature="+canary), to(307, "http://%zz/?Signature="+canary)}},
		"source":          {path: "/does/not/exist"},
		"bad URL": {grant: func(s *fakeStorage) upload.Grant {
			return upload.Grant{URL: schema.NewSignedURL("http://%zz/?Signature=" + canary)}
		}},
		"bad URL, control character": {grant: func(s *fakeStorage) upload.Grant {
			return upload.Grant{URL: schema.NewSignedURL(s.URL + "/\x7f?Signature=" + canary)}
		}},
		"user in the URL": {script: []step{plain(500)}, grant: func(s *fakeStorage) upload.Grant {
			return upload.Grant{URL: schema.NewSignedURL(strings.Replace(s.URL, "http://", "http://user:"+canary+"@", 1) + "/a")}
		}},
		"no such host": {grant: func(s *fakeStorage) upload.Grant { return grantAt("http://127.0.0.1:1/a", time.Hour) }},
		"page that quotes the URL": {script: []step{func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(404)
			fmt.Fprintf(w, "Could not retrieve http://%s%s for you, Signature is %s.", r.Host, r.URL, canary)
		}}},
		"error document that quotes the URL": {script: []step{func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(403)
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>http://%s%s</Message></Error>", canary, r.Host, strings.ReplaceAll(r.URL.String(), "&", "&amp;"))
		}}},
		"headers that quote it": {script: []step{plain(200, "x-amz-checksum-crc64nvme", canary), plain(200, "x-amz-checksum-crc64nvme", canary)}},
		"transport that quotes the URL": {options: func(o *upload.Options) {
			o.Transport = tripper(func(r *http.Request) (*http.Response, error) {
				return nil, fmt.Errorf("cannot reach %s: %w", r.URL, io.ErrUnexpectedEOF)
			})
		}},
		"renewal that fails": {script: []step{refuse(403, "AccessDenied", "Request has expired")}, put: upload.PutOptions{
			Renew: func(context.Context) (upload.Grant, error) {
				_, err := http.Get("nowhere://queue.test/?signed=" + canary)
				return upload.Grant{}, err
			},
		}},
		"renewed": {script: []step{refuse(403, "AccessDenied", "Request has expired")}, put: upload.PutOptions{
			Renew: func(context.Context) (upload.Grant, error) {
				return grantAt("http://127.0.0.1:1/fresh", time.Hour), nil
			},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStorage(t, test.script...)
			var log bytes.Buffer
			c := client(t, func(o *upload.Options) {
				o.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				if test.options != nil {
					test.options(o)
				}
			})
			g := s.grant("a")
			if test.grant != nil {
				g = test.grant(s)
			}
			src := upload.Bytes([]byte("x"))
			if test.path != "" {
				src = upload.File(test.path)
			}
			test.put.GiveUpAfter = 50 * time.Millisecond
			test.put.Name = "name"
			receipt, err := c.Put(within(t), g, src, test.put)
			var e *upload.Error
			if errors.As(err, &e) {
				check(t, fmt.Sprintf("%v %+v %#v", *e, *e, e.Kind))
			}
			for inner := []error{err}; len(inner) > 0; inner = inner[1:] {
				check(t, fmt.Sprintf("%v %+v", inner[0], inner[0]))
				switch w := inner[0].(type) {
				case interface{ Unwrap() []error }:
					inner = append(inner, w.Unwrap()...)
				case interface{ Unwrap() error }:
					inner = append(inner, w.Unwrap())
				}
			}
			check(t, fmt.Sprintf("%+v %#v %+v %+v %+v", receipt, receipt, g, src, test.put))
			check(t, fmt.Sprintf("%+v", c))
			check(t, log.String())
			if test.path == "" && log.Len() == 0 {
				t.Error("nothing was logged, which proves nothing")
			}
		})
	}
}

func check(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, canary) || strings.Contains(text, "Expires=") {
		t.Errorf("shows the signed URL: %s", text)
	}
}

func hang(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}
