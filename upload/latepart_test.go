package upload_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// A part that the storage was just storing when its upload was aborted turns up afterwards. It is thrown away too.
func TestPartThatIsStoredAfterTheAbort(t *testing.T) {
	var mu sync.Mutex
	aborts, left := 0, 0
	arrived := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.URL.Query().Get("part") == "1":
			if len(body) == 5*mib {
				close(arrived)
			}
			<-r.Context().Done() // the client has left, but this storage has all it needs
		case r.URL.Query().Get("part") == "2":
			<-arrived
			refuse(400, "EntityTooSmall", "no")(w, r)
		case r.Method == http.MethodDelete:
			mu.Lock()
			defer mu.Unlock()
			if aborts++; aborts == 1 {
				left = 1
			} else {
				left = 0
			}
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	t.Cleanup(s.Close)
	sign := func(query string) schema.SignedURL { return schema.NewSignedURL(s.URL + "/a?" + query) }
	m := upload.Multipart{
		UploadID: "id", PartSize: 5 * mib, Complete: sign("complete"), Abort: sign("abort"), Parts: []schema.SignedURL{sign("part=1"), sign("part=2")},
	}
	_, err := client(t).Put(within(t), upload.Grant{Multipart: &m}, upload.Bytes(random(5*mib+1)), upload.PutOptions{})
	if e := (*upload.Error)(nil); !errors.As(err, &e) || e.Code != "EntityTooSmall" {
		t.Errorf("error is %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if left != 0 || aborts < 2 {
		t.Errorf("%d parts are left behind after %d aborts", left, aborts)
	}
}
