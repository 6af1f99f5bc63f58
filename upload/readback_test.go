package upload_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/upload"
)

// readBack stores data under the name "a", and reads it back.
func (r *partsRig) readBack(data []byte, o upload.PutOptions) (upload.Receipt, error) {
	r.t.Helper()
	g, err := r.grant(within(r.t), "a", int64(len(data)))
	if err != nil {
		r.t.Fatal(err)
	}
	o.Name, o.ReadBack = "a", true
	return client(r.t).Put(within(r.t), g, upload.Bytes(data), o)
}

// forReadBack runs a test for each kind of grant, with data that takes three parts where there are parts.
func forReadBack(t *testing.T, test func(t *testing.T, r *partsRig, data []byte)) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, newPartsRig(t, kind, agenttest.Options{}), random(11*mib))
		})
	}
}

func TestReadBack(t *testing.T) {
	forReadBack(t, func(t *testing.T, r *partsRig, data []byte) {
		r.inject(agenttest.Fault{What: "get", Kind: "404", Count: 2}) // it shows only in a while
		r.inject(agenttest.Fault{What: "get", Kind: "503", Count: 1})
		r.inject(agenttest.Fault{What: "get", Kind: "reset", Count: 1})
		r.inject(agenttest.Fault{What: "get", Kind: "redirect", Count: 1})
		got, err := r.readBack(data, upload.PutOptions{})
		if err != nil || got.Digest != upload.Sum(data) || got.Retries != 0 {
			t.Fatalf("receipt %+v, error %v", got, err)
		}
		if n := r.count("get", 0); n != 6 { // the redirect is two
			t.Errorf("%d GETs, want 6", n)
		}
		r.wantStored("a", data)
	})
}

// A storage that says it has what was sent, and keeps something else: nobody notices but who reads it back.
func TestReadBackFindsOtherBytes(t *testing.T) {
	forReadBack(t, func(t *testing.T, r *partsRig, data []byte) {
		what := "complete"
		if r.kind == "single" {
			what = "put"
		}
		r.inject(agenttest.Fault{What: what, Kind: "rot"})
		if _, err := r.put(within(t), client(t), "b", upload.Bytes(data), int64(len(data))); err != nil {
			t.Fatalf("without a look: %v", err)
		}
		_, err := r.readBack(data, upload.PutOptions{GiveUpAfter: 20 * time.Millisecond})
		var e *upload.Error
		if !errors.Is(err, upload.ErrReadBack) || !errors.As(err, &e) || e.Kind != upload.ErrReadBack {
			t.Fatalf("error is %v", err)
		}
		if text := err.Error(); !strings.Contains(text, "sent "+string(upload.Sum(data))+", read crc64nvme:") || strings.Contains(text, "\n") {
			t.Errorf("error says: %s", text)
		}
		r.wantNoParts()
	})
}

func TestReadBackIsRefused(t *testing.T) {
	forReadBack(t, func(t *testing.T, r *partsRig, data []byte) {
		r.inject(agenttest.Fault{What: "get", Kind: "403"})
		_, err := r.readBack(data, upload.PutOptions{})
		if !errors.Is(err, upload.ErrReadBack) || !strings.Contains(err.Error(), "cannot be read back as it was sent: 403 Forbidden AccessDenied: ") || !strings.HasSuffix(err.Error(), "needs rights that we do not have") &&
			!strings.Contains(err.Error(), "needs rights that we do not have (") {
			t.Errorf("error is %v", err)
		}
		if n := r.count("get", 0); n != 1 {
			t.Errorf("%d GETs, want 1", n)
		}
	})
}

// Without a place where readers find it nothing is uploaded.
func TestReadBackNeedsAPlace(t *testing.T) {
	s := newStorage(t)
	g := s.grant("a")
	g.ReadURL = ""
	_, err := client(t).Put(within(t), g, upload.Bytes([]byte("x")), upload.PutOptions{ReadBack: true})
	wantError(t, err, upload.ErrGrant, 0)
	s.wantRequests(t, 0)
}

// serve answers GETs with a body, however long.
func serve(body string, header ...string) step {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		io.WriteString(w, body)
	}
}

func TestReadBackComparesStoredBytes(t *testing.T) {
	for name, test := range map[string]struct {
		shown []step
		gets  int
		says  string // "": it is what was sent
	}{
		"the same":              {[]step{serve("hello")}, 1, ""},
		"an older one at first": {[]step{serve("older, and longer"), serve("old"), serve("hullo"), serve("hello")}, 4, ""},
		"cut off at first":      {[]step{serve("hel", "Content-Length", "5"), serve("hello")}, 2, ""},
		"no content":            {[]step{plain(204), serve("hello")}, 2, ""},
		"shorter":               {nil, 0, "sent 5 bytes, read 3"},
		"longer":                {nil, 0, "sent 5 bytes, read more"},
		"elsewhere, in clear":   {[]step{to(302, "ftp://storage.test/a")}, 1, "neither http nor https"},
		"bad request":           {[]step{refuse(400, "InvalidRequest", "no")}, 1, "400 Bad Request InvalidRequest: no"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStorage(t)
			s.script = append([]step{s.store}, test.shown...)
			if test.shown == nil {
				body := map[string]string{"shorter": "hel", "longer": strings.Repeat("hello", 1000)}[name]
				for range 200 {
					s.script = append(s.script, serve(body))
				}
			}
			_, err := client(t).Put(within(t), s.grant("a"), upload.Bytes([]byte("hello")), upload.PutOptions{ReadBack: true, GiveUpAfter: 50 * time.Millisecond})
			if test.says == "" && err != nil || test.says != "" && (!errors.Is(err, upload.ErrReadBack) || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("error is %v, want %q", err, test.says)
			}
			if test.gets > 0 {
				s.wantRequests(t, 1+test.gets)
			}
			for _, r := range s.seen()[1:] {
				if r.Method != http.MethodGet || r.URL.RawQuery != "" || r.Header.Get("Authorization") != "" || r.ContentLength > 0 {
					t.Errorf("read with %s %s %v", r.Method, r.URL, r.Header)
				}
			}
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("the signature is in %v", err)
			}
		})
	}
}

// What is stored gzipped is compared as it is stored, also where a storage would undo it for who does not take gzip.
func TestReadBackOfGzip(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	io.WriteString(w, "hello")
	w.Close()
	s := newStorage(t)
	s.script = []step{s.store, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			io.WriteString(w, "hello")
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(packed.Bytes())
	}}
	o := upload.PutOptions{ReadBack: true, ContentEncoding: "gzip", GiveUpAfter: 50 * time.Millisecond}
	got, err := client(t).Put(within(t), s.grant("a"), upload.Bytes(packed.Bytes()), o)
	if err != nil || got.Size != int64(packed.Len()) {
		t.Errorf("receipt %+v, error %v", got, err)
	}
}

// A storage that never shows it has half a minute; one that cannot answer has as long as an upload.
func TestReadBackWaits(t *testing.T) {
	for name, test := range map[string]struct {
		status      int
		least, most time.Duration
	}{
		"never there": {404, 29 * time.Second, 38 * time.Second},
		"no answer":   {503, 4 * time.Minute, 5*time.Minute + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var shown step = plain(test.status)
				transport := roundTrips(func(r *http.Request) *http.Response {
					w := httptest.NewRecorder()
					if r.Method == http.MethodGet {
						shown(w, httptest.NewRequest(http.MethodGet, "/", nil))
					} else {
						io.Copy(io.Discard, r.Body)
					}
					return w.Result()
				})
				c := upload.New(upload.Options{Transport: transport})
				start := time.Now()
				_, err := c.Put(t.Context(), grantAt("http://storage.test/a", time.Hour), upload.Bytes([]byte("x")), upload.PutOptions{ReadBack: true, GiveUpAfter: 5 * time.Minute})
				if took := time.Since(start); !errors.Is(err, upload.ErrReadBack) || took < test.least || took > test.most {
					t.Errorf("after %v: %v", took, err)
				}
			})
		})
	}
}

// roundTrips is a transport that needs no network.
type roundTrips func(*http.Request) *http.Response

func (f roundTrips) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }
