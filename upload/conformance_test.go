package upload_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// storage is what the conformance suite needs of an object storage.
type storage interface {
	// Grant permits one PUT of the object for so long, give or take a second.
	Grant(name, contentType string, life time.Duration) (upload.Grant, error)
	// Get reads an object as it is stored, not decompressed.
	Get(name string) ([]byte, http.Header, error)
}

// testStorage checks that Put and a storage understand each other.
func testStorage(t *testing.T, s storage) {
	c := client(t)
	grant := func(t *testing.T, name, contentType string) upload.Grant {
		t.Helper()
		g, err := s.Grant(name, contentType, 10*time.Minute)
		if err != nil {
			t.Fatalf("grant: %v", err)
		}
		return g
	}
	// put stores data and reads it back.
	put := func(t *testing.T, g upload.Grant, name string, src upload.Source, data []byte, o upload.PutOptions) (upload.Receipt, http.Header) {
		t.Helper()
		receipt, err := c.Put(within(t), g, src, o)
		if err != nil {
			t.Fatalf("put: %v", err)
		}
		if receipt.Digest != upload.Sum(data) || receipt.Size != int64(len(data)) {
			t.Errorf("receipt %+v", receipt)
		}
		got, header, err := s.Get(name)
		if err != nil {
			t.Fatalf("get: %v", err)
		}
		if !bytes.Equal(got, data) {
			t.Errorf("stored %d other bytes, want %d", len(got), len(data))
		}
		return receipt, header
	}
	// refused wants a Put that stores nothing.
	refused := func(t *testing.T, g upload.Grant, name string, kind error) {
		t.Helper()
		_, err := c.Put(within(t), g, upload.Bytes(random(200_000)), upload.PutOptions{})
		wantError(t, err, kind, 1)
		if got, _, err := s.Get(name); err == nil {
			t.Errorf("%d bytes are stored", len(got))
		}
	}

	t.Run("single", func(t *testing.T) {
		data := []byte("hello")
		receipt, _ := put(t, grant(t, "single", "text/plain"), "single", upload.Bytes(data), data, upload.PutOptions{})
		if receipt.Attempts != 1 || receipt.ETag == "" {
			t.Errorf("receipt %+v", receipt)
		}
	})
	t.Run("empty", func(t *testing.T) {
		put(t, grant(t, "empty", "text/plain"), "empty", upload.File(file(t, nil)), nil, upload.PutOptions{})
	})
	t.Run("big file", func(t *testing.T) {
		data := random(big)
		put(t, grant(t, "big", "application/octet-stream"), "big", upload.File(file(t, data)), data, upload.PutOptions{})
	})
	t.Run("content type", func(t *testing.T) {
		for i, contentType := range []string{"application/json", "text/plain; charset=utf-8", "Image/PNG"} {
			name := fmt.Sprint("type", i)
			_, header := put(t, grant(t, name, contentType), name, upload.Bytes([]byte("x")), []byte("x"), upload.PutOptions{})
			if got := header.Get("Content-Type"); got != contentType {
				t.Errorf("content type is %q, want %q", got, contentType)
			}
		}
	})
	t.Run("wrong content type", func(t *testing.T) {
		g := grant(t, "wrongtype", "text/plain")
		g.ContentType = "text/html"
		refused(t, g, "wrongtype", upload.ErrDenied)
		g.ContentType = ""
		refused(t, g, "wrongtype", upload.ErrDenied)
	})
	t.Run("tampered URL", func(t *testing.T) {
		g := grant(t, "tampered", "text/plain")
		g.URL = schema.NewSignedURL(strings.Replace(g.URL.Reveal(), "tampered", "forged", 1))
		refused(t, g, "forged", upload.ErrDenied)
	})
	t.Run("expired", func(t *testing.T) {
		g, err := s.Grant("expired", "text/plain", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		at, ok := upload.Expiry(g.URL)
		if !ok || time.Until(at) > 5*time.Second {
			t.Fatalf("expires at %v, %v", at, ok)
		}
		select {
		case <-time.After(time.Until(at.Add(1500 * time.Millisecond))):
		case <-within(t).Done():
		}
		c := client(t) // one that does not know the storage's clock
		_, err = c.Put(within(t), g, upload.Bytes([]byte("x")), upload.PutOptions{})
		if e := wantError(t, err, upload.ErrExpired, 1); e.Status/100 != 4 {
			t.Errorf("the storage did not say so: %v", err)
		}
		if got, _, err := s.Get("expired"); err == nil {
			t.Errorf("%d bytes are stored", len(got))
		}
		receipt, err := c.Put(within(t), g, upload.Bytes([]byte("x")), upload.PutOptions{
			Renew: func(context.Context) (upload.Grant, error) { return s.Grant("expired", "text/plain", 10*time.Minute) },
		})
		if err != nil || receipt.Renewals != 1 {
			t.Errorf("receipt %+v, error %v", receipt, err)
		}
	})
	t.Run("overwrite", func(t *testing.T) {
		g := grant(t, "overwrite", "text/plain")
		for _, data := range []string{"first", "second, longer", "3"} {
			put(t, g, "overwrite", upload.Bytes([]byte(data)), []byte(data), upload.PutOptions{})
		}
	})
	t.Run("content encoding", func(t *testing.T) {
		var zipped bytes.Buffer
		w := gzip.NewWriter(&zipped)
		io.WriteString(w, "hello")
		w.Close()
		_, header := put(t, grant(t, "encoded", "text/plain"), "encoded", upload.Bytes(zipped.Bytes()), zipped.Bytes(),
			upload.PutOptions{ContentEncoding: "gzip"})
		if got := header.Get("Content-Encoding"); got != "gzip" {
			t.Errorf("content encoding is %q", got)
		}
	})
}

func TestEmbeddedStorage(t *testing.T) {
	t.Parallel()
	s := &embedded{t: t, servers: make(map[time.Duration]*run), granted: make(map[string]*run)}
	testStorage(t, s)
}

// embedded is the storage of agenttest, with a server for each life of a grant.
type embedded struct {
	t       *testing.T
	servers map[time.Duration]*run
	granted map[string]*run // by name
}

type run struct {
	*agenttest.Server
	claim schema.Claim
	base  string // of the URLs where artifacts are read
}

func (s *embedded) server(life time.Duration) (*run, error) {
	if r := s.servers[life]; r != nil {
		return r, nil
	}
	server, err := agenttest.New(s.t.TempDir(), agenttest.Options{ArtifactURLLife: life})
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { server.Close() })
	claim, err := server.PostAndClaim(schema.Worker{WorkerGroup: "group", WorkerID: "worker"})
	if err != nil {
		return nil, err
	}
	s.servers[life] = &run{Server: server, claim: claim}
	return s.servers[life], nil
}

func (s *embedded) Grant(name, contentType string, life time.Duration) (upload.Grant, error) {
	r, err := s.server(life)
	if err != nil {
		return upload.Grant{}, err
	}
	request, err := json.Marshal(schema.ArtifactURLsRequest{
		RunID: r.claim.RunID, Worker: r.claim.Worker, Artifacts: map[string]schema.ArtifactRequest{name: {ContentType: contentType}},
	})
	if err != nil {
		return upload.Grant{}, err
	}
	res, err := http.Post(r.QueueURL()+"/task/"+string(r.claim.Status.TaskID)+"/artifact-urls", "application/json", bytes.NewReader(request))
	if err != nil {
		return upload.Grant{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return upload.Grant{}, fmt.Errorf("artifact-urls: %s %s: %w", res.Status, body, err)
	}
	var answer schema.ArtifactURLsAnswer
	if err := json.Unmarshal(body, &answer); err != nil {
		return upload.Grant{}, err
	}
	urls, ok := answer.Artifacts[name]
	if !ok {
		return upload.Grant{}, errors.New("artifact-urls: the name is missing")
	}
	r.base = strings.TrimSuffix(urls.ArtifactURL, name)
	s.granted[name] = r
	return upload.Grant{URL: urls.ArtifactPutURL, ContentType: contentType, ReadURL: urls.ArtifactURL}, nil
}

func (s *embedded) Get(name string) ([]byte, http.Header, error) {
	r := s.granted[name]
	if r == nil { // one that no grant was for
		r = s.servers[10*time.Minute]
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Get(r.base + name)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("get %s: %s", name, res.Status)
	}
	return body, res.Header, err
}
