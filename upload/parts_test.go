package upload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskcluster/upload-agent/agent/agenttest"
	"github.com/taskcluster/upload-agent/upload"
)

// inPartsOnly are the kinds that store in parts.
var inPartsOnly = kinds[1:]

// tamper is a transport that changes answers.
type tamper struct {
	next   http.RoundTripper
	change func(req *http.Request, res *http.Response)
}

func (t tamper) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.next.RoundTrip(req)
	if err == nil {
		t.change(req, res)
	}
	return res, err
}

func tampering(change func(req *http.Request, res *http.Response)) func(*upload.Options) {
	return func(o *upload.Options) { o.Transport = tamper{upload.NewTransport(), change} }
}

func isPart(req *http.Request) bool {
	return req.Method == http.MethodPut && req.URL.Query().Has("partNumber")
}

func isCompletion(req *http.Request) bool {
	return req.Method == http.MethodPost && req.URL.Query().Has("uploadId")
}

// forParts runs a test for each kind that stores in parts, with three parts of data.
func forParts(t *testing.T, o agenttest.Options, test func(t *testing.T, r *partsRig, data []byte)) {
	t.Helper()
	for _, kind := range inPartsOnly {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, newPartsRig(t, kind, o), random(11*mib))
		})
	}
}

func TestMultipartCompletionAnswers200WithAnErrorBody(t *testing.T) {
	forParts(t, agenttest.Options{}, func(t *testing.T, r *partsRig, data []byte) {
		r.inject(agenttest.Fault{What: "complete", Kind: "late", Count: 2})
		got, err := r.put(within(t), client(t), "a", upload.Bytes(data), int64(len(data)))
		r.wantReceiptOf(got, err, data, 3)
		r.wantStored("a", data)
		if n := r.count("complete", 0); n != 3 {
			t.Errorf("%d completions, want 3", n)
		}
		// One that says that it is of no use.
		r.inject(agenttest.Fault{What: "complete", Kind: "late", Code: "InvalidPart"})
		_, err = r.put(within(t), client(t), "b", upload.Bytes(data), int64(len(data)))
		if e := wantError(t, err, upload.ErrRejected, r.requests(3)); e.Code != "InvalidPart" || e.Status != 200 || e.Part != 0 {
			t.Errorf("error is %+v", e)
		}
		r.wantNothing("b")
	})
}

// The answer to the completion is lost, and then the storage does not know the upload any more: it is asked what it has.
func TestMultipartCompletionIsLost(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*http.Request, *http.Response)
		reads  int
	}{
		"and the ETag tells": {func(*http.Request, *http.Response) {}, 1},
		"and the bytes tell": {func(req *http.Request, res *http.Response) {
			if req.Method == http.MethodHead {
				res.Header.Set("ETag", `"opaque"`)
			}
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			forParts(t, agenttest.Options{}, func(t *testing.T, r *partsRig, data []byte) {
				r.inject(agenttest.Fault{What: "complete", Kind: "lost", Count: 1})
				r.inject(agenttest.Fault{What: "complete", Kind: "404", Code: "NoSuchUpload"})
				got, err := r.put(within(t), client(t, tampering(test.change)), "a", upload.Bytes(data), int64(len(data)))
				if err != nil || got.Digest != upload.Sum(data) || got.Parts != 3 {
					t.Errorf("receipt %+v, error %v", got, err)
				}
				r.wantStored("a", data)
				if n := r.count("get", 0); n != test.reads || r.count("part", 0) != 3 {
					t.Errorf("asked %d times what is stored, want %d; %d parts, want 3", n, test.reads, r.count("part", 0))
				}
			})
		})
	}
}

// requests is how many it takes to store so many parts.
func (r *partsRig) requests(parts int) int {
	if r.kind == "bucket" {
		return parts + 2
	}
	return parts + 1
}

// What was stored under the name before is not taken for what was lost: the upload is started anew.
func TestMultipartUploadIsGone(t *testing.T) {
	forParts(t, agenttest.Options{}, func(t *testing.T, r *partsRig, data []byte) {
		if _, err := r.put(within(t), client(t), "a", upload.Bytes(random(len(data))), int64(len(data))); err != nil {
			t.Fatal(err)
		}
		r.inject(agenttest.Fault{What: "complete", Kind: "404", Code: "NoSuchUpload", Count: 1})
		got, err := r.put(within(t), client(t), "a", upload.Bytes(data), int64(len(data)))
		if err != nil || got.Digest != upload.Sum(data) || got.Attempts != 2*r.requests(3) {
			t.Errorf("receipt %+v, error %v", got, err)
		}
		r.wantStored("a", data)
	})
}

func TestMultipartUploadIsGoneAmidItsParts(t *testing.T) {
	forParts(t, agenttest.Options{}, func(t *testing.T, r *partsRig, data []byte) {
		r.inject(agenttest.Fault{What: "part", Part: 3, Kind: "404", Code: "NoSuchUpload", Count: 1})
		got, err := r.put(within(t), client(t), "a", upload.Bytes(data), int64(len(data)))
		if err != nil || got.Digest != upload.Sum(data) || got.Parts != 3 { // some parts may have ended before they were on their way
			t.Errorf("receipt %+v, error %v", got, err)
		}
		r.wantStored("a", data)

		r.inject(agenttest.Fault{What: "part", Part: 3, Kind: "404", Code: "NoSuchUpload"})
		_, err = r.put(within(t), client(t), "b", upload.Bytes(data), int64(len(data)))
		var e *upload.Error
		if !errors.As(err, &e) || !errors.Is(err, upload.ErrRejected) || e.Part != 3 || e.Code != "NoSuchUpload" {
			t.Errorf("error is %v", err)
		}
		r.wantNothing("b")
	})
}

// Whatever ends an upload in parts, none of them is left behind, even if the abort has its own troubles.
func TestAbortLeavesNoParts(t *testing.T) {
	for name, test := range map[string]struct {
		fault agenttest.Fault
		abort agenttest.Fault
		kind  error
		part  int
	}{
		"a part is refused":         {agenttest.Fault{What: "part", Part: 3, Kind: "400", Code: "EntityTooLarge"}, agenttest.Fault{Kind: "503", Count: 2}, upload.ErrRejected, 3},
		"a part is tried in vain":   {agenttest.Fault{What: "part", Part: 2, Kind: "503"}, agenttest.Fault{Kind: "reset", Count: 1}, upload.ErrGaveUp, 2},
		"the completion is refused": {agenttest.Fault{What: "complete", Kind: "400", Code: "InvalidPart"}, agenttest.Fault{Kind: "expired", Count: 1}, upload.ErrRejected, 0},
		"the completion is in vain": {agenttest.Fault{What: "complete", Kind: "late"}, agenttest.Fault{Kind: "lost", Count: 1}, upload.ErrGaveUp, 0},
		"a part is never let in":    {agenttest.Fault{What: "part", Part: 1, Kind: "403"}, agenttest.Fault{Kind: "500", Count: 1}, upload.ErrDenied, 1},
		"the last part goes astray": {agenttest.Fault{What: "part", Part: 3, Kind: "412"}, agenttest.Fault{Kind: "slow", Count: 1}, upload.ErrRejected, 3},
		"and nothing hinders abort": {agenttest.Fault{What: "part", Part: 2, Kind: "411"}, agenttest.Fault{}, upload.ErrRejected, 2},
	} {
		t.Run(name, func(t *testing.T) {
			forParts(t, agenttest.Options{}, func(t *testing.T, r *partsRig, data []byte) {
				r.inject(test.fault)
				if abort := test.abort; abort.Kind != "" {
					abort.What = "abort"
					r.inject(abort)
				}
				g, err := r.grant(within(t), "a", int64(len(data)))
				if err != nil {
					t.Fatal(err)
				}
				_, err = client(t).Put(within(t), g, upload.Bytes(data), upload.PutOptions{
					Name: "a", GiveUpAfter: 50 * time.Millisecond,
					Renew: func(ctx context.Context) (upload.Grant, error) { return r.grant(ctx, "a", int64(len(data))) },
				})
				var e *upload.Error
				if !errors.As(err, &e) || !errors.Is(err, test.kind) || e.Part != test.part || e.Name != "a" || e.Host == "" {
					t.Errorf("error is %v, want %v of part %d", err, test.kind, test.part)
				}
				r.wantNothing("a")
			})
		})
	}
}

// The refusal of a part is not lost behind a reset: its body is sent only when the storage wants it.
func TestStorageRejectsAPartBeforeItHasReadTheBody(t *testing.T) {
	forParts(t, agenttest.Options{}, func(t *testing.T, r *partsRig, data []byte) {
		for range 5 {
			r.inject(agenttest.Fault{What: "part", Kind: "400", Code: "EntityTooLarge", Count: 1})
			_, err := r.put(within(t), client(t, func(o *upload.Options) { o.PartsAtOnce = 1 }), "a", upload.Bytes(data), int64(len(data)))
			var e *upload.Error
			if !errors.As(err, &e) || e.Code != "EntityTooLarge" || e.Part != 1 {
				t.Errorf("error is %v", err)
			}
		}
		r.wantNothing("a")
	})
}

// The context of the Put ends; the parts are thrown away all the same.
func TestAbortAfterTheContextEnded(t *testing.T) {
	forParts(t, agenttest.Options{}, func(t *testing.T, r *partsRig, data []byte) {
		r.inject(agenttest.Fault{What: "part", Part: 3, Kind: "stall"})
		ctx, cancel := context.WithCancelCause(within(t))
		reason := errors.New("the claim is lost")
		arrived := make(chan struct{})
		go func() {
			defer close(arrived)
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for within := time.After(30 * time.Second); r.count("part", 3) == 0 || len(r.Uploads()) == 0 || r.Uploads()[0].Parts < 2; {
				select {
				case <-tick.C:
				case <-within:
					return
				}
			}
			cancel(reason)
		}()
		_, err := r.put(ctx, client(t), "a", upload.Bytes(data), int64(len(data)))
		<-arrived
		if !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
			t.Errorf("error is %v", err)
		}
		r.wantNothing("a")
	})
}

// A file that changes while its parts are sent never becomes an object.
func TestFileShrinksOrChangesDuringTheUploadInParts(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"shrinks": func(path string) error { return os.Truncate(path, 6*mib) },
		"changes": func(path string) error { return os.WriteFile(path, random(11*mib), 0o600) },
		"changes where it was sent already, and grows": func(path string) error {
			return os.WriteFile(path, random(12*mib), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			forParts(t, agenttest.Options{}, func(t *testing.T, r *partsRig, data []byte) {
				path := file(t, data)
				then := time.Now().Add(-time.Hour)
				if err := os.Chtimes(path, then, then); err != nil {
					t.Fatal(err)
				}
				var once sync.Once
				c := client(t, func(o *upload.Options) { o.PartsAtOnce = 1 }, tampering(func(req *http.Request, _ *http.Response) {
					if isPart(req) && req.URL.Query().Get("partNumber") == "1" {
						once.Do(func() {
							if err := change(path); err != nil {
								t.Error(err)
							}
						})
					}
				}))
				_, err := r.put(within(t), c, "a", upload.File(path), int64(len(data)))
				if !errors.Is(err, upload.ErrChanged) {
					t.Errorf("error is %v", err)
				}
				r.wantNothing("a")
			})
		})
	}
}

// A file that is only appended to while its parts are sent is stored as it was when it was opened.
func TestFileGrowsDuringTheUploadInParts(t *testing.T) {
	forParts(t, agenttest.Options{}, func(t *testing.T, r *partsRig, data []byte) {
		path := file(t, data)
		then := time.Now().Add(-time.Hour)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		c := client(t, func(o *upload.Options) { o.PartsAtOnce = 1 }, tampering(func(req *http.Request, _ *http.Response) {
			if !isPart(req) {
				return
			}
			once.Do(func() {
				f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = f.Write(random(mib))
				if err := errors.Join(err, f.Close()); err != nil {
					t.Error(err)
				}
			})
		}))
		got, err := r.put(within(t), c, "a", upload.File(path), int64(len(data)))
		r.wantReceiptOf(got, err, data, 3)
		r.wantStored("a", data)
	})
}

// The part URLs that are left expire amid the upload; so do credentials. What had been stored stays stored.
func TestPartURLsAndCredentialsExpire(t *testing.T) {
	for _, kind := range inPartsOnly {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var ahead atomic.Int64
			clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
			r := newPartsRig(t, kind, agenttest.Options{Clock: clock, ArtifactURLLife: 10 * time.Minute, ClaimLength: 5 * time.Hour})
			r.life = 10 * time.Minute
			data := random(5*5*mib + 1)
			c := client(t, func(o *upload.Options) { o.PartsAtOnce = 2 }, tampering(func(req *http.Request, res *http.Response) {
				res.Header.Del("Date") // nobody tells it that the clock has jumped
				if isPart(req) && res.StatusCode == http.StatusOK && req.URL.Query().Get("partNumber") == "3" {
					ahead.Store(int64(12 * time.Minute)) // a request that is signed in its headers is good for 15
				}
			}))
			got, err := r.put(within(t), c, "a", upload.Bytes(data), int64(len(data)))
			r.wantReceiptOf(got, err, data, 6)
			r.wantStored("a", data)
			if got.Renewals < 1 || got.Renewals > 5 || got.Attempts <= 7 || got.Attempts > 11 {
				t.Errorf("%d renewals, %d requests: want a few more than the 7 that it takes without", got.Renewals, got.Attempts)
			}
		})
	}
}

func TestCredentialsExpireAmidTheUpload(t *testing.T) {
	r := newPartsRig(t, "bucket", agenttest.Options{})
	data := random(5*5*mib + 1)
	r.life = time.Hour
	renewals := 0
	g, err := r.grant(within(t), "a", 0)
	if err != nil {
		t.Fatal(err)
	}
	r.inject(agenttest.Fault{What: "part", Kind: "400", Code: "ExpiredToken", After: 2, Count: 2})
	got, err := client(t, func(o *upload.Options) { o.PartsAtOnce = 2 }).Put(within(t), g, upload.File(file(t, data)), upload.PutOptions{
		Name: "a",
		Renew: func(ctx context.Context) (upload.Grant, error) {
			renewals++
			return r.grant(ctx, "a", 0)
		},
	})
	r.wantReceiptOf(got, err, data, 6)
	r.wantStored("a", data)
	if renewals == 0 || renewals > 2 || got.Renewals != renewals {
		t.Errorf("%d renewals, the receipt says %d", renewals, got.Renewals)
	}
	if n := r.count("part", 0); n != 8 {
		t.Errorf("%d requests for parts, want 6 and the two that were refused", n)
	}
}

// Credentials that are about to end are renewed before they are used, once for all parts.
func TestCredentialsAreRenewedEarly(t *testing.T) {
	r := newPartsRig(t, "bucket", agenttest.Options{})
	data := random(11 * mib)
	r.life = -time.Minute
	g, err := r.grant(within(t), "a", 0)
	if err != nil {
		t.Fatal(err)
	}
	r.life = time.Hour
	got, err := client(t).Put(within(t), g, upload.Bytes(data), upload.PutOptions{
		Renew: func(ctx context.Context) (upload.Grant, error) { return r.grant(ctx, "a", 0) },
	})
	r.wantReceiptOf(got, err, data, 3)
	if got.Renewals != 1 || got.Attempts != 5 {
		t.Errorf("receipt %+v, want one renewal and nothing refused", got)
	}
	r.wantStored("a", data)
}

// A grant for another object is not taken for a renewal.
func TestRenewalIsOfTheSameObject(t *testing.T) {
	forParts(t, agenttest.Options{PartURLs: 1}, func(t *testing.T, r *partsRig, data []byte) {
		g, err := r.grant(within(t), "a", int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		other, err := r.grant(within(t), "b", int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		if g.Multipart != nil {
			g.Multipart.Renew = func(context.Context, int) (upload.Multipart, error) { return *other.Multipart, nil }
		}
		r.inject(agenttest.Fault{What: "create", Kind: "expired", Count: 1})
		_, err = client(t).Put(within(t), g, upload.Bytes(data), upload.PutOptions{
			Renew: func(context.Context) (upload.Grant, error) { return other, nil },
		})
		if !errors.Is(err, upload.ErrGrant) {
			t.Errorf("error is %v", err)
		}
		r.wantNothing("a")
	})
}

// What the storage says of a part or of the whole is compared with what was sent.
func TestPartsAreCompared(t *testing.T) {
	const checksum = "X-Amz-Checksum-Crc64nvme"
	wrong := func(res *http.Response, old, new string) {
		body, _ := io.ReadAll(res.Body)
		body = bytes.Replace(body, []byte(old), []byte(new), 1)
		res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	for name, test := range map[string]struct {
		change func(req *http.Request, res *http.Response, n int32)
		want   error
		more   int // attempts
	}{
		"no checksum, the MD5 is right": {func(req *http.Request, res *http.Response, _ int32) {
			if isPart(req) {
				res.Header.Del(checksum)
			}
		}, nil, 0},
		"checksum wrong once": {func(req *http.Request, res *http.Response, n int32) {
			if isPart(req) && n == 1 {
				res.Header.Set(checksum, "AAAAAAAAAAA=")
			}
		}, nil, 1},
		"checksum always wrong": {func(req *http.Request, res *http.Response, _ int32) {
			if isPart(req) {
				res.Header.Set(checksum, "AAAAAAAAAAA=")
			}
		}, upload.ErrDigest, 0},
		"MD5 wrong once": {func(req *http.Request, res *http.Response, n int32) {
			if isPart(req) && n == 1 {
				res.Header.Del(checksum)
				res.Header.Set("ETag", `"`+strings.Repeat("0", 32)+`"`)
			}
		}, nil, 1},
		"MD5 always wrong": {func(req *http.Request, res *http.Response, _ int32) {
			if isPart(req) {
				res.Header.Del(checksum)
				res.Header.Set("ETag", `"`+strings.Repeat("0", 32)+`"`)
			}
		}, upload.ErrDigest, 0},
		"no ETag": {func(req *http.Request, res *http.Response, _ int32) {
			if isPart(req) {
				res.Header.Del("ETag")
			}
		}, upload.ErrRejected, 0},
		"encrypted, so that the ETag is no MD5": {func(req *http.Request, res *http.Response, n int32) {
			if isPart(req) {
				res.Header.Del(checksum)
				res.Header.Set("X-Amz-Server-Side-Encryption", "aws:kms")
			}
		}, nil, 0},
		"the whole is another": {func(req *http.Request, res *http.Response, _ int32) {
			if isCompletion(req) {
				wrong(res, "<ChecksumCRC64NVME>", "<ChecksumCRC64NVME>AAAA")
			}
		}, upload.ErrDigest, 0},
		"the whole is a checksum of checksums": {func(req *http.Request, res *http.Response, _ int32) {
			if isCompletion(req) {
				wrong(res, "</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT", "-3</ChecksumCRC64NVME><ChecksumType>COMPOSITE")
			}
		}, nil, 0},
		"the answer to the completion is cut off": {func(req *http.Request, res *http.Response, _ int32) {
			if isCompletion(req) {
				wrong(res, "</CompleteMultipartUploadResult>", "")
			}
		}, upload.ErrGaveUp, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newPartsRig(t, "multipart", agenttest.Options{})
			data := random(11 * mib)
			var n atomic.Int32
			c := client(t, tampering(func(req *http.Request, res *http.Response) {
				if isPart(req) {
					test.change(req, res, n.Add(1))
				} else {
					test.change(req, res, 0)
				}
			}))
			g, err := r.grant(within(t), "a", int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			o := upload.PutOptions{Name: "a"}
			if errors.Is(test.want, upload.ErrGaveUp) {
				o.GiveUpAfter = 50 * time.Millisecond
			}
			got, err := c.Put(within(t), g, upload.Bytes(data), o)
			if !errors.Is(err, test.want) {
				t.Fatalf("error is %v, want %v", err, test.want)
			}
			if test.want == nil {
				r.wantReceiptOf(got, err, data, 3)
				if got.Attempts != 4+test.more {
					t.Errorf("%d attempts, want %d", got.Attempts, 4+test.more)
				}
				r.wantStored("a", data)
			}
			r.wantNoParts()
		})
	}
}

// What a grant in parts must have.
func TestGrantInPartsThatCannotBeUsed(t *testing.T) {
	r := newPartsRig(t, "multipart", agenttest.Options{})
	b := newPartsRig(t, "bucket", agenttest.Options{})
	for name, test := range map[string]struct {
		rig    *partsRig
		change func(*upload.Grant)
		data   []byte
		o      upload.PutOptions
	}{
		"no completion":          {r, func(g *upload.Grant) { g.Multipart.Complete = upload.Grant{}.URL }, random(6 * mib), upload.PutOptions{}},
		"another encoding":       {r, func(*upload.Grant) {}, random(6 * mib), upload.PutOptions{ContentEncoding: "gzip"}},
		"no URL for a small one": {r, func(g *upload.Grant) { g.URL = upload.Grant{}.URL }, random(5), upload.PutOptions{}},
		"no URL for a part":      {r, func(g *upload.Grant) { g.Multipart.Parts, g.Multipart.Renew = nil, nil }, random(6 * mib), upload.PutOptions{}},
		"no bucket":              {b, func(g *upload.Grant) { g.Bucket.Bucket = "" }, nil, upload.PutOptions{}},
		"no key":                 {b, func(g *upload.Grant) { g.Bucket.Prefix, g.Bucket.Name = "", "" }, nil, upload.PutOptions{}},
		"no credentials":         {b, func(g *upload.Grant) { g.Bucket.Credentials = upload.Credentials{} }, nil, upload.PutOptions{}},
		"a strange endpoint":     {b, func(g *upload.Grant) { g.Bucket.Endpoint = "ftp://" + canary + "@h" }, nil, upload.PutOptions{}},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := test.rig.grant(within(t), "a", 11*mib)
			if err != nil {
				t.Fatal(err)
			}
			test.change(&g)
			_, err = client(t).Put(within(t), g, upload.Bytes(test.data), test.o)
			if e := wantError(t, err, upload.ErrGrant, 0); strings.Contains(e.Error(), canary) {
				t.Errorf("the error shows the endpoint: %v", e)
			}
		})
	}
}

// A bucket's secrets show up nowhere: not printed, not in an error, not in the log.
func TestBucketSecretsAreNotShown(t *testing.T) {
	r := newPartsRig(t, "bucket", agenttest.Options{})
	g, err := r.grant(within(t), "a", 0)
	if err != nil {
		t.Fatal(err)
	}
	g.Bucket.Credentials.SecretAccessKey = upload.NewSecret(canary)
	token := g.Bucket.Credentials.SessionToken.Reveal()
	var shown strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&shown, verb+"\n", *g.Bucket)
		fmt.Fprintf(&shown, verb+"\n", g.Bucket.Credentials.SecretAccessKey)
	}
	text, err := g.Bucket.Credentials.SecretAccessKey.MarshalText()
	shown.Write(text)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	log := slog.New(slog.NewJSONHandler(lockedWriter{&mu, &shown}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	log.Info("grant", "bucket", *g.Bucket, "secret", g.Bucket.Credentials.SecretAccessKey)
	_, err = client(t, func(o *upload.Options) { o.Logger = log }, tampering(func(_ *http.Request, res *http.Response) {
		res.Body = io.NopCloser(strings.NewReader("<Error><Code>SignatureDoesNotMatch</Code><Message>not with " + canary + " and " + token + "</Message></Error>"))
	})).Put(within(t), g, upload.Bytes(random(6*mib)), upload.PutOptions{Name: "a"})
	if !errors.Is(err, upload.ErrDenied) {
		t.Errorf("error is %v", err)
	}
	all := shown.String() + fmt.Sprintf("%v %+v", err, err)
	if !strings.Contains(all, "redacted") || !strings.Contains(all, "upload attempt ends") {
		t.Errorf("shown: %s", all)
	}
	for _, secret := range []string{canary, token, fmt.Sprintf("%x", canary)} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is shown in: %s", secret, all)
		}
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}
