package upload_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/taskcluster/upload-agent/schema"
	"github.com/taskcluster/upload-agent/upload"
)

// The first signed URL has expired when it is used; Put asks for another and goes on.
func ExampleClient_Put() {
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("Signature") == "old" {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
		}
	}))
	defer storage.Close()
	grant := func(signature string) upload.Grant {
		return upload.Grant{
			URL:         schema.NewSignedURL(storage.URL + "/result.json?Signature=" + signature),
			ContentType: "application/json",
			ReadURL:     "https://tasks.example/result.json",
		}
	}

	client := upload.New(upload.Options{})
	receipt, err := client.Put(context.Background(), grant("old"), upload.Bytes([]byte(`{"exitCode":0}`)), upload.PutOptions{
		Name:        "result.json",
		Renew:       func(context.Context) (upload.Grant, error) { return grant("new"), nil },
		GiveUpAfter: 10 * time.Minute,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(receipt.Name, "is at", receipt.URL)
	fmt.Println(receipt.Size, "bytes,", receipt.Digest)
	fmt.Println(receipt.Attempts, "attempts,", receipt.Renewals, "renewal")
	// Output:
	// result.json is at https://tasks.example/result.json
	// 14 bytes, crc64nvme:RdrgLzEPdDM=
	// 2 attempts, 1 renewal
}

func ExampleExpiry() {
	for _, raw := range []string{
		"https://tasks.s3.amazonaws.com/result.json?AWSAccessKeyId=AKIA&Expires=1397998800&Signature=c2ln",
		"https://tasks.s3.amazonaws.com/result.json?X-Amz-Date=20140420T125000Z&X-Amz-Expires=600&X-Amz-Signature=0a",
		"https://tasks.example/result.json",
	} {
		at, ok := upload.Expiry(schema.NewSignedURL(raw))
		fmt.Println(at.Format(time.RFC3339), ok)
	}
	// Output:
	// 2014-04-20T13:00:00Z true
	// 2014-04-20T13:00:00Z true
	// 0001-01-01T00:00:00Z false
}
