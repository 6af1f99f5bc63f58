package upload_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/agent/agenttest/versitygw"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// storage is what the conformance suite needs of an object storage.
type storage interface {
	// Grant permits to store an object.
	Grant(ctx context.Context, w wanted) (upload.Grant, error)
	// Get reads an object as it is stored, not decompressed.
	Get(name string) ([]byte, http.Header, error)
	// Parts is how many parts of an object lie there that were neither put together nor thrown away.
	Parts(name string) (int, error)
	// Temporary says whether its credentials expire.
	Temporary() bool
}

// wanted is what a grant is for.
type wanted struct {
	kind, name, contentType string
	size                    int64
	life                    time.Duration     // give or take a second; 0: long enough
	headers                 upload.PutOptions // what it is to be stored with
}

const partOfSuite = 5 * mib // every grant in parts has parts of this size

// suite checks that Put and a storage understand each other, with one kind of grants.
type suite struct {
	storage
	kind string
}

func testStorage(t *testing.T, s storage, kinds ...string) {
	for _, kind := range kinds {
		t.Run(kind, suite{s, kind}.run)
	}
}

func (s suite) run(t *testing.T) {
	t.Run("sizes", s.sizes)
	t.Run("names", s.names)
	t.Run("headers", s.headers)
	t.Run("overwrite", s.overwrite)
	t.Run("tampered", s.tampered)
	if s.kind != "bucket" { // whose uploads say their type by themselves
		t.Run("wrong content type", s.wrongContentType)
	}
	if s.kind != "bucket" || s.Temporary() {
		t.Run("expired", s.expired)
	}
	if s.kind == "single" {
		t.Run("checksum", s.checksum)
		t.Run("too large", s.tooLarge)
	} else {
		t.Run("damaged", s.damaged)
		t.Run("abort", s.abort)
	}
}

// wanted is what the suite asks for if it says no more.
func (s suite) wanted(name string, size int) wanted {
	return wanted{kind: s.kind, name: s.kind + "/" + name, contentType: "text/plain", size: int64(size)}
}

func (s suite) grant(t *testing.T, w wanted) upload.Grant {
	t.Helper()
	g, err := s.Grant(within(t), w)
	if err != nil {
		t.Fatalf("grant: %v", err)
	}
	return g
}

// put stores data and reads it back.
func (s suite) put(t *testing.T, w wanted, data []byte) (upload.Receipt, http.Header) {
	t.Helper()
	receipt, err := client(t).Put(within(t), s.grant(t, w), upload.File(file(t, data)), w.headers)
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	parts := 0
	if s.kind != "single" && len(data) > partOfSuite {
		parts = (len(data) + partOfSuite - 1) / partOfSuite
	}
	if receipt.Digest != upload.Sum(data) || receipt.Size != int64(len(data)) || receipt.Parts != parts || receipt.ETag == "" {
		t.Errorf("receipt %+v, want %d parts", receipt, parts)
	}
	got, header, err := s.Get(w.name)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	if !bytes.Equal(got, data) {
		t.Errorf("stored %d other bytes, want %d", len(got), len(data))
	}
	s.wantNoParts(t, w.name)
	return receipt, header
}

func (s suite) wantNoParts(t *testing.T, name string) {
	t.Helper()
	if left, err := s.Parts(name); left != 0 || err != nil {
		t.Errorf("%d parts are left behind, %v", left, err)
	}
}

func (s suite) wantNothing(t *testing.T, name string) {
	t.Helper()
	if got, _, err := s.Get(name); err == nil {
		t.Errorf("%d bytes are stored", len(got))
	}
	s.wantNoParts(t, name)
}

func (s suite) sizes(t *testing.T) {
	for name, size := range map[string]int{
		"empty": 0, "small": 5, "one part": partOfSuite, "one byte more": partOfSuite + 1, "two parts": 2 * partOfSuite, "three": 2*partOfSuite + mib,
	} {
		if s.kind == "multipart" && size == 0 {
			continue // nobody asks for parts of nothing
		}
		if receipt, _ := s.put(t, s.wanted(name, size), random(size)); receipt.Renewals != 0 || receipt.Attempts > receipt.Parts+2 {
			t.Errorf("%s: receipt %+v", name, receipt)
		}
	}
}

func (s suite) names(t *testing.T) {
	for _, name := range []string{"folder/in a folder/ä b+c", "per%20cent", "a&b=c", "(brackets) 'and' *!", "日本"} {
		s.put(t, s.wanted(name, 3), []byte("abc"))
	}
	s.put(t, s.wanted("folder/in parts ä b+c%20", partOfSuite+1), random(partOfSuite+1))
}

// What readers get with the bytes: of an object that went in parts as of one that did not.
func (s suite) headers(t *testing.T) {
	for contentType, size := range map[string]int{"application/json": 500, "Image/PNG": 501, "text/plain; charset=utf-8": partOfSuite + 1} {
		w := s.wanted(fmt.Sprint("headers ", size), size)
		w.contentType = contentType
		w.headers = upload.PutOptions{ContentEncoding: "gzip", CacheControl: "max-age=60, public", ContentDisposition: `attachment; filename="x y.txt"`}
		_, header := s.put(t, w, random(size))
		for name, want := range map[string]string{
			"Content-Type": contentType, "Content-Encoding": "gzip",
			"Cache-Control": w.headers.CacheControl, "Content-Disposition": w.headers.ContentDisposition,
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%d bytes: %s is %q, want %q", size, name, got, want)
			}
		}
	}
	_, header := s.put(t, s.wanted("no headers", 5), []byte("plain"))
	for _, name := range []string{"Content-Encoding", "Cache-Control", "Content-Disposition"} {
		if got := header.Get(name); got != "" {
			t.Errorf("%s is %q, want none", name, got)
		}
	}
}

// refused wants a Put that stores nothing.
func (s suite) refused(t *testing.T, g upload.Grant, name string, size int, kind error, o upload.PutOptions) {
	t.Helper()
	_, err := client(t).Put(within(t), g, upload.Bytes(random(size)), o)
	if !errors.Is(err, kind) {
		t.Errorf("error is %v, want %v", err, kind)
	}
	s.wantNothing(t, name)
}

func (s suite) wrongContentType(t *testing.T) {
	w := s.wanted("wrong type", 200_000)
	for _, contentType := range []string{"text/html", "text/plain; charset=utf-8", ""} {
		g := s.grant(t, w)
		g.ContentType = contentType
		s.refused(t, g, w.name, 200_000, upload.ErrDenied, upload.PutOptions{})
	}
}

// A URL of another object, a part of another upload, or other credentials let nobody in.
func (s suite) tampered(t *testing.T) {
	const size = partOfSuite + 1
	w := s.wanted("tampered", size)
	g := s.grant(t, w)
	forge := func(u schema.SignedURL) schema.SignedURL {
		return schema.NewSignedURL(strings.Replace(u.Reveal(), "tampered", "forged", 1))
	}
	switch s.kind {
	case "single":
		g.URL = forge(g.URL)
	case "multipart":
		g.Multipart.Renew = nil
		g.Multipart.Parts[1] = g.Multipart.Parts[0] // 2 goes where 1 belongs; seen by its digest, if at all
		g.Multipart.Parts[0] = forge(g.Multipart.Parts[0])
	case "bucket":
		g.Bucket.Credentials.SecretAccessKey = upload.NewSecret(g.Bucket.Credentials.SecretAccessKey.Reveal() + "x")
	}
	s.refused(t, g, w.name, size, upload.ErrDenied, upload.PutOptions{})
	if _, _, err := s.Get(s.kind + "/forged"); err == nil {
		t.Error("the forged object is stored")
	}
}

func (s suite) expired(t *testing.T) {
	w := s.wanted("expired", 5)
	if s.kind != "single" {
		w.size = partOfSuite + 1
	}
	short := w
	short.life = time.Second
	g := s.grant(t, short)
	over := time.Now().Add(2500 * time.Millisecond)
	if g.Bucket == nil {
		url := g.URL
		if g.Multipart != nil {
			url = g.Multipart.Parts[0]
		}
		at, ok := upload.Expiry(url)
		if !ok || time.Until(at) > 5*time.Second {
			t.Fatalf("expires at %v, %v", at, ok)
		}
		over = at.Add(1500 * time.Millisecond)
	} else {
		g.Bucket.Credentials.Expires = time.Time{} // as if nobody knew
	}
	select {
	case <-time.After(time.Until(over)):
	case <-within(t).Done():
	}
	data := random(int(w.size))
	o := upload.PutOptions{GiveUpAfter: time.Second}
	if g.Multipart != nil {
		g.Multipart.Renew = nil
	}
	_, err := client(t).Put(within(t), g, upload.Bytes(data), o) // a client that does not know the storage's clock
	var e *upload.Error
	if !errors.As(err, &e) || !errors.Is(err, upload.ErrExpired) {
		t.Errorf("error is %v, want %v", err, upload.ErrExpired)
	} else if s.kind == "single" && e.Status/100 != 4 { // of a whole part, some lose the answer behind a reset
		t.Errorf("the storage did not say so: %v", err)
	}
	if _, _, err := s.Get(w.name); err == nil {
		t.Error("it is stored")
	}
	o.Renew = func(ctx context.Context) (upload.Grant, error) { return s.Grant(ctx, w) }
	fresh := s.grant(t, w)
	if g.Multipart != nil {
		old := *g.Multipart
		g.Multipart = &old
		g.Multipart.UploadID = fresh.Multipart.UploadID
		g.Multipart.Renew = func(context.Context, int) (upload.Multipart, error) { return *fresh.Multipart, nil }
	}
	receipt, err := client(t).Put(within(t), g, upload.Bytes(data), o)
	if err != nil || receipt.Renewals == 0 {
		t.Errorf("receipt %+v, error %v", receipt, err)
	}
	if got, _, err := s.Get(w.name); err != nil || !bytes.Equal(got, data) {
		t.Errorf("stored %d bytes, %v", len(got), err)
	}
}

func (s suite) overwrite(t *testing.T) {
	for _, size := range []int{10, partOfSuite + 1, 20, 2 * partOfSuite, 3} {
		s.put(t, s.wanted("overwrite", size), random(size))
	}
}

// A checksum that goes with the bytes has to be theirs.
func (s suite) checksum(t *testing.T) {
	w := s.wanted("checksum", partOfSuite+1)
	data := random(partOfSuite + 1)
	sum := md5.Sum(data)
	g := s.grant(t, w)
	g.Header = http.Header{"Content-Md5": {base64.StdEncoding.EncodeToString(sum[:])}}
	if e, ok := s.storage.(*embedded); ok && e.options.Signature == "v2" {
		s.refused(t, g, w.name, len(data), upload.ErrDenied, upload.PutOptions{}) // right or wrong, it breaks the signature
		return
	}
	s.refused(t, g, w.name, len(data), upload.ErrDigest, upload.PutOptions{})
	if _, err := client(t).Put(within(t), g, upload.Bytes(data), upload.PutOptions{}); err != nil {
		t.Error(err)
	}
}

// Parts that were damaged on their way are not taken for stored.
func (s suite) damaged(t *testing.T) {
	w := s.wanted("damaged", partOfSuite+1)
	c := client(t, func(o *upload.Options) { o.Transport = damaging{upload.NewTransport()} })
	_, err := c.Put(within(t), s.grant(t, w), upload.Bytes(random(partOfSuite+1)), upload.PutOptions{})
	if !errors.Is(err, upload.ErrDigest) {
		t.Errorf("error is %v, want %v", err, upload.ErrDigest)
	}
	s.wantNothing(t, w.name)
}

// damaging is a transport that damages the bytes of each part.
type damaging struct{ next http.RoundTripper }

func (d damaging) RoundTrip(req *http.Request) (*http.Response, error) {
	if isPart(req) {
		req = req.Clone(req.Context())
		req.Body = struct {
			io.Reader
			io.Closer
		}{&flipping{req.Body}, req.Body}
		req.GetBody = nil
	}
	return d.next.RoundTrip(req)
}

func (d damaging) CloseIdleConnections() { d.next.(*http.Transport).CloseIdleConnections() }

type flipping struct{ from io.Reader }

func (f *flipping) Read(p []byte) (int, error) {
	n, err := f.from.Read(p)
	if n > 0 {
		p[0] ^= 1 // of the transport's buffer
	}
	return n, err
}

// A single PUT takes 5 GiB at most, and says so before it has them.
func (s suite) tooLarge(t *testing.T) {
	w := s.wanted("too large", 5<<30+1)
	ctx, cancel := context.WithCancelCause(within(t))
	defer cancel(nil)
	endless := &zeros{limit: 64 * mib, end: func() { cancel(errors.New("it takes more than 64 MiB of it")) }}
	_, err := client(t).Put(ctx, s.grant(t, w), upload.Section(io.NewSectionReader(endless, 0, w.size)), upload.PutOptions{})
	if e := (*upload.Error)(nil); !errors.As(err, &e) || !errors.Is(err, upload.ErrRejected) || e.Code != "EntityTooLarge" {
		t.Errorf("error is %v, want EntityTooLarge", err)
	}
	s.wantNothing(t, w.name)
}

// zeros are bytes without end; they say when more than a limit was read.
type zeros struct {
	limit int64
	read  atomic.Int64
	end   func()
}

func (z *zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	if z.read.Add(int64(len(p))) > z.limit {
		z.end()
	}
	return len(p), nil
}

// Whatever ends an upload in parts, none of them stays behind.
func (s suite) abort(t *testing.T) {
	w := s.wanted("abort", 2*partOfSuite+1)
	ctx, cancel := context.WithCancel(within(t))
	c := client(t, func(o *upload.Options) { o.PartsAtOnce = 1 }, tampering(func(req *http.Request, _ *http.Response) {
		if isPart(req) && req.URL.Query().Get("partNumber") == "2" {
			cancel()
		}
	}))
	if _, err := c.Put(ctx, s.grant(t, w), upload.Bytes(random(int(w.size))), upload.PutOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	s.wantNothing(t, w.name)
}

func TestEmbeddedStorage(t *testing.T) {
	t.Parallel()
	testStorage(t, newEmbedded(t, agenttest.Options{}), kinds...)
}

// The same where the objects of the embedded queue live in a bucket of a real S3 server: with what the SDK signs, and as readers see it.
func TestEmbeddedQueueOfABucket(t *testing.T) {
	t.Parallel()
	s := versitygw.StartFor(t, "bucket")
	testStorage(t, newEmbedded(t, agenttest.Options{Bucket: &agenttest.Bucket{
		Endpoint: s.Endpoint, Name: "bucket", Region: s.Region, AccessKeyID: s.AccessKeyID, SecretAccessKey: schema.NewSecret(s.SecretAccessKey),
	}}), "single", "multipart")
}

// The first queue's signatures, of version 2, are broken by any header that they do not cover: whatever Put adds, they let in. Credentials of a bucket know no version 2.
func TestEmbeddedStorageWithVersion2(t *testing.T) {
	t.Parallel()
	testStorage(t, newEmbedded(t, agenttest.Options{Signature: "v2"}), "single", "multipart")
}

func newEmbedded(t *testing.T, o agenttest.Options) *embedded {
	return &embedded{t: t, options: o, rigs: map[time.Duration]*partsRig{}, granted: map[string]*partsRig{}}
}

// embedded is the storage of agenttest, with a server for each life of a grant.
type embedded struct {
	t       *testing.T
	options agenttest.Options
	rigs    map[time.Duration]*partsRig
	granted map[string]*partsRig // by name
}

func (s *embedded) Grant(ctx context.Context, w wanted) (upload.Grant, error) {
	life := w.life
	if w.kind == "bucket" {
		life = 0 // credentials are good for as long as is asked for, with any server
	}
	r := s.rigs[life]
	if r == nil {
		o := s.options
		o.ArtifactURLLife = life
		r = newPartsRig(s.t, "", o)
		s.rigs[life] = r
	}
	s.granted[w.name] = r
	return r.permit(ctx, w)
}

func (s *embedded) Get(name string) ([]byte, http.Header, error) {
	r := s.granted[name]
	if r == nil { // one that no grant was for
		r = s.rigs[0]
	}
	return download(r.StorageURL() + "/" + (&url.URL{Path: r.path(name)}).EscapedPath())
}

func (s *embedded) Parts(string) (n int, err error) {
	for _, r := range s.rigs {
		for _, left := range r.Uploads() {
			n += left.Parts
		}
	}
	return n, nil
}

func (s *embedded) Temporary() bool { return true }

// download reads what a URL leads to as a plain client does.
func download(url string) ([]byte, http.Header, error) {
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("get: %s", res.Status)
	}
	return body, res.Header, err
}
