package upload_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// kinds are the kinds of grants.
var kinds = []string{"single", "multipart", "bucket"}

const mib = 1 << 20

// partsRig is the embedded storage, and grants of one kind for it.
type partsRig struct {
	t *testing.T
	*agenttest.Server
	claim schema.Claim
	kind  string
	life  time.Duration // of a bucket's credentials
}

func newPartsRig(t *testing.T, kind string, o agenttest.Options) *partsRig {
	t.Helper()
	o.MultipartFrom, o.PartSize = 1, 5*mib
	server, err := agenttest.New(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	claim, err := server.PostAndClaim(schema.Worker{WorkerGroup: "group", WorkerID: "worker"})
	if err != nil {
		t.Fatal(err)
	}
	return &partsRig{t: t, Server: server, claim: claim, kind: kind, life: time.Hour}
}

func (r *partsRig) inject(f agenttest.Fault) {
	r.t.Helper()
	if err := r.Inject(f); err != nil {
		r.t.Fatal(err)
	}
}

// urls asks the queue for one artifact.
func (r *partsRig) urls(ctx context.Context, name string, wanted schema.ArtifactRequest) (schema.ArtifactURLs, error) {
	request, err := json.Marshal(schema.ArtifactURLsRequest{
		RunID: r.claim.RunID, Worker: r.claim.Worker, Artifacts: map[string]schema.ArtifactRequest{name: wanted},
	})
	if err != nil {
		return schema.ArtifactURLs{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.QueueURL()+"/task/"+string(r.claim.TaskID)+"/artifact-urls", bytes.NewReader(request))
	if err != nil {
		return schema.ArtifactURLs{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return schema.ArtifactURLs{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return schema.ArtifactURLs{}, fmt.Errorf("artifact-urls: %s %s: %w", res.Status, body, err)
	}
	answer, err := schema.Decode[schema.ArtifactURLsAnswer]("answer", body)
	return answer.Artifacts[name], err
}

func (r *partsRig) grant(ctx context.Context, name string, size int64) (upload.Grant, error) {
	return r.permit(ctx, wanted{kind: r.kind, name: name, contentType: "text/x-test", size: size, life: r.life})
}

// permit is a grant of any kind.
func (r *partsRig) permit(ctx context.Context, w wanted) (upload.Grant, error) {
	request := schema.ArtifactRequest{ContentType: w.contentType}
	if w.kind == "multipart" {
		request.Multipart = &schema.MultipartRequest{
			Size: w.size, ContentEncoding: w.headers.ContentEncoding, CacheControl: w.headers.CacheControl, ContentDisposition: w.headers.ContentDisposition,
		}
	}
	urls, err := r.urls(ctx, w.name, request)
	if err != nil {
		return upload.Grant{}, err
	}
	g := upload.Grant{URL: urls.ArtifactPutURL, ContentType: urls.ContentType, ReadURL: urls.ArtifactURL}
	switch w.kind {
	case "multipart":
		m := inParts(urls.Multipart, w.headers)
		m.Renew = func(ctx context.Context, first int) (upload.Multipart, error) {
			again := request
			again.Multipart = &schema.MultipartRequest{Size: w.size, UploadID: m.UploadID, FirstPart: first}
			urls, err := r.urls(ctx, w.name, again)
			if err != nil {
				return upload.Multipart{}, err
			}
			return inParts(urls.Multipart, w.headers), nil
		}
		g.Multipart = &m
	case "bucket":
		life := w.life
		if life == 0 {
			life = time.Hour
		}
		a := r.BucketAccess(r.claim.TaskID, r.claim.RunID, life)
		g.URL = schema.SignedURL{}
		g.Bucket = &upload.Bucket{
			Endpoint: a.Endpoint, Region: a.Region, Bucket: a.Bucket, Prefix: a.Prefix, Name: w.name, PartSize: 5 * mib,
			Credentials: upload.Credentials{
				AccessKeyID: a.AccessKeyID, SecretAccessKey: upload.NewSecret(a.SecretAccessKey), SessionToken: upload.NewSecret(a.SessionToken), Expires: a.Expires,
			},
		}
	}
	return g, nil
}

func inParts(m *schema.MultipartURLs, headers upload.PutOptions) upload.Multipart {
	return upload.Multipart{
		UploadID: m.UploadID, PartSize: m.PartSize, FirstPart: m.FirstPart, Parts: m.PartPutURLs, Complete: m.CompleteURL, Abort: m.AbortURL,
		ContentEncoding: headers.ContentEncoding, CacheControl: headers.CacheControl, ContentDisposition: headers.ContentDisposition,
	}
}

// put stores data under a name.
func (r *partsRig) put(ctx context.Context, c *upload.Client, name string, src upload.Source, size int64) (upload.Receipt, error) {
	r.t.Helper()
	g, err := r.grant(ctx, name, size)
	if err != nil {
		r.t.Fatal(err)
	}
	return c.Put(ctx, g, src, upload.PutOptions{
		Name: name, Renew: func(ctx context.Context) (upload.Grant, error) { return r.grant(ctx, name, size) },
	})
}

func (r *partsRig) path(name string) string {
	return string(r.claim.TaskID) + "/runs/0/artifacts/" + name
}

// wantStored checks the bytes, and that no parts are left.
func (r *partsRig) wantStored(name string, want []byte) {
	r.t.Helper()
	got, err := r.Object(r.path(name))
	if err != nil || !bytes.Equal(got, want) {
		r.t.Errorf("stored %d bytes, %v; want %d", len(got), err, len(want))
	}
	r.wantNoParts()
}

func (r *partsRig) wantNothing(name string) {
	r.t.Helper()
	if got, err := r.Object(r.path(name)); err == nil {
		r.t.Errorf("%d bytes are stored", len(got))
	}
	r.wantNoParts()
}

func (r *partsRig) wantNoParts() {
	r.t.Helper()
	for _, left := range r.Uploads() {
		if left.Parts > 0 { // one whose id was lost with the answer is nobody's, and empty
			r.t.Errorf("parts left behind: %+v", left)
		}
	}
}

// count is how many requests there were for something; of parts, also by number.
func (r *partsRig) count(what string, part int) (n int) {
	for _, q := range r.Requests() {
		if q.What == what && (part == 0 || q.Part == part) {
			n++
		}
	}
	return n
}

// wantReceiptOf checks a receipt of data, and its counts.
func (r *partsRig) wantReceiptOf(got upload.Receipt, err error, data []byte, parts int) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("put: %v", err)
	}
	attempts := r.count("put", 0) + r.count("create", 0) + r.count("part", 0) + r.count("complete", 0)
	if got.Digest != upload.Sum(data) || got.Size != int64(len(data)) || got.Parts != parts || got.ETag == "" || got.Attempts != attempts || got.URL == "" && r.kind != "bucket" {
		r.t.Errorf("receipt %+v, want %d parts, %d attempts, digest %s", got, parts, attempts, upload.Sum(data))
	}
}

// Every kind of grant stores every size alike.
func TestEveryKindOfGrant(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			for name, test := range map[string]struct {
				size  int
				parts int
			}{
				"empty": {0, 0}, "small": {5, 0}, "one part": {5 * mib, 0}, "one byte more": {5*mib + 1, 2}, "two parts": {10 * mib, 2}, "three": {11 * mib, 3},
			} {
				if kind == "multipart" && test.size == 0 {
					continue // nobody asks for parts of nothing
				}
				r := newPartsRig(t, kind, agenttest.Options{})
				data := random(test.size)
				name = "folder/ä b+" + name
				got, err := r.put(within(t), client(t), name, upload.File(file(t, data)), int64(test.size))
				if kind == "single" {
					test.parts = 0
				}
				r.wantReceiptOf(got, err, data, test.parts)
				r.wantStored(name, data)
				if res, err := http.Get(r.StorageURL() + "/" + r.path("folder/%C3%A4%20b+"+name[len("folder/ä b+"):])); err != nil || res.Header.Get("Content-Type") != "text/x-test" {
					t.Errorf("read: %v, %v", res, err)
				} else {
					res.Body.Close()
				}
			}
		})
	}
}

// Whatever goes wrong once with each request of an upload is made good: every part is hit, and what starts and ends it too.
func TestFaultsOnEveryPart(t *testing.T) {
	data := random(11 * mib)
	for _, kind := range kinds {
		for _, fault := range []agenttest.Fault{
			{Kind: "500"}, {Kind: "503"}, {Kind: "429"}, {Kind: "reset"}, {Kind: "expired"}, {Kind: "redirect"}, {Kind: "lost"}, {Kind: "stall"},
			{Kind: "400", Code: "RequestTimeout"}, {Kind: "403", Code: "SignatureDoesNotMatch"}, {Kind: "400", Code: "BadDigest"}, {Kind: "late"},
		} {
			if kind == "bucket" && fault.Kind == "redirect" {
				continue // the signature is good for one host only
			}
			name := kind + "/" + fault.Kind + fault.Code
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := newPartsRig(t, kind, agenttest.Options{})
				fault.Count = 1
				whats := []string{"put", "create", "complete"}
				if fault.Kind == "late" {
					whats = []string{"complete"}
				}
				for _, fault.What = range whats {
					r.inject(fault)
				}
				for fault.Part = 1; fault.Part <= 3 && fault.Kind != "late"; fault.Part++ {
					fault.What = "part"
					r.inject(fault)
				}
				c := client(t)
				if fault.Kind == "stall" {
					c = client(t, stallAfter(2*time.Second))
				}
				got, err := r.put(within(t), c, "a", upload.File(file(t, data)), int64(len(data)))
				parts := map[string]int{"single": 0, "multipart": 3, "bucket": 3}[kind]
				r.wantStored("a", data)
				switch fault.Kind {
				case "redirect", "lost", "reset", "stall": // the transport repeats some by itself; a busy machine may seem to stall
					if err != nil || got.Digest != upload.Sum(data) {
						t.Errorf("receipt %+v, error %v", got, err)
					}
					return
				}
				r.wantReceiptOf(got, err, data, parts)
				if n := r.count("part", 0); n != 2*parts && fault.Kind != "late" {
					t.Errorf("%d requests for parts, want each twice", n)
				}
			})
		}
	}
}
