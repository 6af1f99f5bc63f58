package upload_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// renewals gives grants for fresh URLs, and counts.
type renewals struct {
	base  string
	count int
}

func (r *renewals) renew(context.Context) (upload.Grant, error) {
	r.count++
	return grantAt(fmt.Sprintf("%s/fresh%d", r.base, r.count), time.Hour), nil
}

func TestSignedURLExpired(t *testing.T) {
	for name, expired := range map[string]step{
		"Amazon and MinIO": refuse(403, "AccessDenied", "Request has expired"),
		"token":            refuse(400, "ExpiredToken", "The provided token has expired."),
	} {
		t.Run(name, func(t *testing.T) {
			data := random(300_000)
			s := newStorage(t, plain(503), expired)
			r := renewals{base: s.URL}
			got, err := client(t).Put(within(t), s.grant("old"), upload.Bytes(data), upload.PutOptions{Name: "a", Renew: r.renew})
			wantReceipt(t, got, err, upload.Receipt{
				Name: "a", URL: s.URL + "/fresh1", Size: 300_000, Digest: upload.Sum(data), ETag: `"etag"`, Attempts: 3, Renewals: 1,
			})
			s.wantRequests(t, 3)
			s.wantObject(t, "old", nil)
			s.wantObject(t, "fresh1", data)
		})
	}
}

func TestSignedURLExpiredAndCannotBeRenewed(t *testing.T) {
	s := newStorage(t, refuse(403, "AccessDenied", "Request has expired"))
	_, err := client(t).Put(within(t), s.grant("old"), upload.Bytes([]byte("x")), upload.PutOptions{})
	e := wantError(t, err, upload.ErrExpired, 1)
	if e.Code != "AccessDenied" || e.Status != 403 || e.Message != "Request has expired" {
		t.Errorf("error is %+v", e)
	}
	s.wantRequests(t, 1)
}

func TestSignedURLExpiredAndRenewFails(t *testing.T) {
	s := newStorage(t, refuse(403, "AccessDenied", "Request has expired"))
	_, err := client(t).Put(within(t), s.grant("old"), upload.Bytes([]byte("x")), upload.PutOptions{
		Renew: func(context.Context) (upload.Grant, error) { return upload.Grant{}, fs.ErrPermission },
	})
	wantError(t, err, upload.ErrExpired, 1)
	wantError(t, err, fs.ErrPermission, 1)
	s.wantRequests(t, 1)
}

func TestFreshGrantsComeBackExpired(t *testing.T) {
	expired := refuse(403, "AccessDenied", "Request has expired")
	s := newStorage(t, slices.Repeat([]step{expired}, 12)...)
	r := renewals{base: s.URL}
	_, err := client(t).Put(within(t), s.grant("old"), upload.Bytes([]byte("x")), upload.PutOptions{Renew: r.renew})
	e := wantError(t, err, upload.ErrExpired, 9)
	if e.Renewals != 8 || r.count != 8 {
		t.Errorf("%d renewals in the error, %d made, want 8", e.Renewals, r.count)
	}
	s.wantRequests(t, 9)
}

func TestExpiredURLIsNeverSentAgain(t *testing.T) {
	s := newStorage(t, refuse(403, "AccessDenied", "Request has expired"))
	old, count := s.grant("old"), 0
	got, err := client(t).Put(within(t), old, upload.Bytes([]byte("x")), upload.PutOptions{
		Renew: func(context.Context) (upload.Grant, error) {
			if count++; count == 1 {
				return old, nil
			}
			return s.grant("fresh"), nil
		},
	})
	wantReceipt(t, got, err, upload.Receipt{
		URL: s.URL + "/fresh", Size: 1, Digest: upload.Sum([]byte("x")), ETag: `"etag"`, Attempts: 2, Renewals: 2,
	})
	s.wantRequests(t, 2)
	s.wantObject(t, "old", nil)
	s.wantObject(t, "fresh", []byte("x"))
}

func TestExpiredGrantIsRenewedBeforeItIsSent(t *testing.T) {
	s := newStorage(t)
	r := renewals{base: s.URL}
	_, err := client(t).Put(within(t), grantAt(s.URL+"/old", -time.Minute), upload.Bytes([]byte("x")), upload.PutOptions{Renew: r.renew})
	if err != nil {
		t.Fatal(err)
	}
	s.wantRequests(t, 1)
	s.wantObject(t, "fresh1", []byte("x"))
}

func TestExpiredGrantWithoutRenew(t *testing.T) {
	s := newStorage(t, plain(503), plain(503), plain(503))
	c := client(t)
	old := grantAt(s.URL+"/old", -time.Minute)
	// Once, because our clock may be the wrong one; the answer's Date shows that it is not.
	_, err := c.Put(within(t), old, upload.Bytes([]byte("x")), upload.PutOptions{})
	wantError(t, err, upload.ErrExpired, 1)
	_, err = c.Put(within(t), old, upload.Bytes([]byte("x")), upload.PutOptions{})
	wantError(t, err, upload.ErrExpired, 0)
	s.wantRequests(t, 1)
}

// The grant ends while the storage is down: renewed early, without a request to an URL that would be refused.
func TestGrantExpiresBetweenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPipeStorage(t, plain(503, "Retry-After", "95"))
		r := renewals{base: "http://storage.test"}
		got, err := s.client(upload.Options{}).Put(t.Context(), grantAt("http://storage.test/old", 100*time.Second), upload.Bytes([]byte("x")),
			upload.PutOptions{Renew: r.renew})
		if err != nil || got.Attempts != 2 || got.Renewals != 1 {
			t.Errorf("receipt %+v, error %v; want 2 attempts and 1 renewal", got, err)
		}
		s.wantObject(t, "fresh1", []byte("x"))
	})
}

// Without Renew, the end of the grant is the end of the trying, and the error says both.
func TestGrantExpiresWhileTheStorageIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := refuse(503, "SlowDown", "Please reduce your request rate.")
		s := newPipeStorage(t, func(w http.ResponseWriter, r *http.Request) { down(w, r) })
		s.always = down
		start := time.Now()
		_, err := s.client(upload.Options{}).Put(t.Context(), grantAt("http://storage.test/old", time.Minute), upload.Bytes([]byte("x")), upload.PutOptions{})
		var e *upload.Error
		if !errors.As(err, &e) || !errors.Is(err, upload.ErrExpired) || !errors.Is(err, upload.ErrUnavailable) || e.Code != "SlowDown" {
			t.Errorf("error is %v", err)
		}
		if took := time.Since(start); took < 30*time.Second || took > time.Minute+2*time.Second {
			t.Errorf("gave up after %v, want nearly the minute of the grant", took)
		}
	})
}

func TestClockSkew(t *testing.T) {
	// The storage's clock is two hours ahead: the grant looks valid for an hour, and is over.
	ahead := func(s *fakeStorage) step {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(2*time.Hour).UTC().Format(http.TimeFormat))
			s.store(w, r)
		}
	}
	s := newStorage(t)
	s.script = []step{ahead(s), func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Date", "junk"); s.store(w, r) }, ahead(s)}
	c := client(t)
	long := grantAt(s.URL+"/long", 24*time.Hour)
	for range 2 {
		if _, err := c.Put(within(t), long, upload.Bytes([]byte("x")), upload.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if skew := c.Skew(); skew < 2*time.Hour-5*time.Second || skew > 2*time.Hour+5*time.Second {
		t.Errorf("skew is %v, want 2h", skew)
	}
	r := renewals{base: s.URL}
	got, err := c.Put(within(t), s.grant("old"), upload.Bytes([]byte("y")), upload.PutOptions{Renew: r.renew})
	wantReceipt(t, got, err, upload.Receipt{
		URL: s.URL + "/fresh1", Size: 1, Digest: upload.Sum([]byte("y")), ETag: `"etag"`, Attempts: 1, Renewals: 1,
	})
	s.wantRequests(t, 3)
	s.wantObject(t, "old", nil)
	s.wantObject(t, "fresh1", []byte("y"))
}

func TestSignatureDoesNotMatch(t *testing.T) {
	for _, code := range []string{"SignatureDoesNotMatch", "InvalidAccessKeyId", "AccessDenied"} {
		t.Run(code, func(t *testing.T) {
			denied := refuse(403, code, "Refused")
			s := newStorage(t, denied)
			r := renewals{base: s.URL}
			got, err := client(t).Put(within(t), s.grant("old"), upload.Bytes([]byte("x")), upload.PutOptions{Renew: r.renew})
			if err != nil || got.Attempts != 2 || got.Renewals != 1 {
				t.Errorf("receipt %+v, error %v; want 2 attempts and 1 renewal", got, err)
			}
			s.wantRequests(t, 2)
			s.wantObject(t, "fresh1", []byte("x"))

			s = newStorage(t, denied, denied, denied)
			r = renewals{base: s.URL}
			_, err = client(t).Put(within(t), s.grant("old"), upload.Bytes([]byte("x")), upload.PutOptions{Renew: r.renew})
			if e := wantError(t, err, upload.ErrDenied, 2); e.Code != code || e.Renewals != 1 {
				t.Errorf("error is %+v", e)
			}
			s.wantRequests(t, 2)
			s.wantObject(t, "old", nil)
			s.wantObject(t, "fresh1", nil)

			s = newStorage(t, denied, denied)
			_, err = client(t).Put(within(t), s.grant("old"), upload.Bytes([]byte("x")), upload.PutOptions{})
			wantError(t, err, upload.ErrDenied, 1)
			s.wantRequests(t, 1)
			s.wantObject(t, "old", nil)
		})
	}
}

func TestExpiry(t *testing.T) {
	at := time.Date(2014, 4, 20, 13, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		url  string
		want time.Time
	}{
		"version 2":              {"https://b.s3.amazonaws.com/k?AWSAccessKeyId=A&Expires=1397998800&Signature=c2ln", at},
		"version 4":              {"https://b.s3.amazonaws.com/k?X-Amz-Date=20140420T125000Z&X-Amz-Expires=600&X-Amz-Signature=0a", at},
		"version 4, letter case": {"https://b.s3.amazonaws.com/k?x-amz-date=20140420T125000Z&x-AMZ-expires=600", at},
		"Google":                 {"https://storage.googleapis.com/b/k?X-Goog-Date=20140420T125000Z&X-Goog-Expires=600", at},
		"none":                   {"https://b.s3.amazonaws.com/k", time.Time{}},
		"not a number":           {"https://b.s3.amazonaws.com/k?Expires=soon", time.Time{}},
		"negative":               {"https://b.s3.amazonaws.com/k?Expires=-1", time.Time{}},
		"too large":              {"https://b.s3.amazonaws.com/k?X-Amz-Date=20140420T125000Z&X-Amz-Expires=9223372036854775807", time.Time{}},
		"version 4 without date": {"https://b.s3.amazonaws.com/k?X-Amz-Expires=600", time.Time{}},
		"not a URL":              {"https://b.s3.amazonaws.com/%zz?Expires=1397998800", time.Time{}},
		"nothing":                {"", time.Time{}},
	} {
		got, ok := upload.Expiry(schema.NewSignedURL(test.url))
		if !got.Equal(test.want) || ok != !test.want.IsZero() {
			t.Errorf("%s: got %v, %v; want %v", name, got, ok, test.want)
		}
	}
	if at, ok := upload.Expiry(schema.SignedURL{}); ok {
		t.Errorf("no URL expires at %v", at)
	}
}
