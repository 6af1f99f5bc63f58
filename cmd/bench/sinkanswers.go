package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/taskcluster/upload-agent/schema"
)

// sink is a queue that grants everything, and a storage that forgets what it is sent but for its size.
type sink struct {
	address sinkAddress

	mu    sync.Mutex
	sizes map[string]int64 // of what was stored with a header of authorization, so by a client of S3 that may look whether it is there
}

func (s *sink) stored(r *http.Request) {
	if r.Header.Get("Authorization") == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Query().Has("partNumber") {
		s.sizes[r.URL.Path] += r.ContentLength
	} else {
		s.sizes[r.URL.Path] = r.ContentLength
	}
}

// answer is for all requests but PUT.
func (s *sink) answer(r *http.Request, body []byte) answer {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) == 4 && parts[0] == "v1" && parts[1] == "task" {
		value := s.queue(parts[2], parts[3], body)
		if value == nil {
			return answer{status: http.StatusNotFound}
		}
		data, err := json.Marshal(value)
		if err != nil {
			return answer{status: http.StatusInternalServerError}
		}
		return answer{status: http.StatusOK, kind: "application/json", body: data}
	}
	return s.s3(r)
}

type object = map[string]any

// queue answers a call about a task; nil for one that it does not know.
func (s *sink) queue(task, call string, body []byte) any {
	now := time.Now().UTC()
	worker := object{"workerGroup": "bench", "workerId": "bench"}
	status := object{
		"taskId": task, "provisionerId": "bench", "workerType": "bench", "state": "running", "reason": "none", "routing": "",
		"runs":    []any{object{"runId": 0, "workerGroup": worker["workerGroup"], "workerId": worker["workerId"]}},
		"timeout": 1200, "retries": 1, "priority": 1, "created": now, "deadline": now.Add(time.Hour), "takenUntil": now.Add(20 * time.Minute),
	}
	run := "/tasks/" + task + "/runs/0/"
	switch call {
	case "claim":
		return object{"status": status, "runId": 0, "logsPutUrl": s.signed(run+"logs.json", false), "resultPutUrl": s.signed(run+"result.json", false)}
	case "artifact-urls":
		var request struct {
			WorkerID  string
			Artifacts map[string]schema.ArtifactRequest
		}
		if json.Unmarshal(body, &request) != nil {
			return nil
		}
		urls := make(map[string]object, len(request.Artifacts))
		for name, artifact := range request.Artifacts {
			// Those of the files over TLS are told by their name, as the run's documents and logs are small.
			path := run + "artifacts/" + (&url.URL{Path: name}).EscapedPath()
			urls[name] = object{
				"artifactPutUrl": s.signed(path, strings.HasPrefix(name, tlsPrefix)),
				"artifactUrl":    "http://" + s.address.Plain + path,
				"contentType":    artifact.ContentType,
			}
			if artifact.Multipart != nil {
				urls[name]["multipart"] = s.inParts(path, artifact.Multipart.Size)
			}
		}
		answer := object{"status": status, "expires": now.Add(20 * time.Minute), "artifacts": urls}
		if request.WorkerID == partsWorker.WorkerID {
			answer["multipart"] = object{"from": 1}
		}
		return answer
	case "completed":
		status["state"] = "completed"
		return object{"status": status}
	case "status":
		return object{"status": status}
	}
	return nil
}

// partSize is that of the parts the queue grants.
const partSize = 64 << 20

// inParts are the signed URLs of an object in parts.
func (s *sink) inParts(path string, size int64) object {
	signed := func(query string) string { return s.signed(path, false) + "&uploadId=1" + query }
	var parts []string
	for i := range (size + partSize - 1) / partSize {
		parts = append(parts, signed(fmt.Sprintf("&partNumber=%d", i+1)))
	}
	return object{
		"uploadId": "1", "partSize": partSize, "firstPart": 1, "partPutUrls": parts, "completeUrl": signed(""), "abortUrl": signed(""),
	}
}

// tlsPrefix begins the names of artifacts that are to be put over TLS.
const tlsPrefix = "tls/"

// signed is a URL as long as one that was signed with version 4 and temporary credentials.
func (s *sink) signed(path string, overTLS bool) string {
	return s.address.url(overTLS) + path + "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260101%2Fus-east-1%2Fs3%2Faws4_request" +
		"&X-Amz-Date=" + time.Now().UTC().Format("20060102T150405Z") + "&X-Amz-Expires=1200&X-Amz-SignedHeaders=content-type%3Bhost" +
		"&X-Amz-Signature=" + strings.Repeat("0123456789abcdef", 4)
}

// s3 answers what clients of S3 ask besides PUT: as much as those that are measured need.
func (s *sink) s3(r *http.Request) answer {
	bucket, key, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	document := func(format string, args ...any) answer {
		return answer{status: http.StatusOK, kind: "application/xml", body: fmt.Appendf([]byte(xml.Header), format, args...)}
	}
	switch {
	case r.Method == http.MethodPost && query.Has("uploads"):
		s.mu.Lock()
		delete(s.sizes, r.URL.Path) // the parts count anew
		s.mu.Unlock()
		return document("<InitiateMultipartUploadResult><Bucket>%s</Bucket><Key>%s</Key><UploadId>1</UploadId></InitiateMultipartUploadResult>", bucket, key)
	case r.Method == http.MethodPost && query.Has("uploadId"):
		return document("<CompleteMultipartUploadResult><Location>l</Location><Bucket>%s</Bucket><Key>%s</Key><ETag>&quot;1-1&quot;</ETag></CompleteMultipartUploadResult>", bucket, key)
	case r.Method == http.MethodGet && query.Has("location"):
		return document(`<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>`)
	case r.Method == http.MethodGet:
		return document("<ListBucketResult><Name>%s</Name><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>", bucket)
	case r.Method == http.MethodHead && key == "":
		return answer{status: http.StatusOK}
	case r.Method == http.MethodHead:
		s.mu.Lock()
		size, ok := s.sizes[r.URL.Path]
		s.mu.Unlock()
		if ok {
			return answer{status: http.StatusOK, length: size, etag: `"00000000000000000000000000000000"`}
		}
		return answer{status: http.StatusNotFound}
	case r.Method == http.MethodDelete:
		return answer{status: http.StatusNoContent}
	}
	return answer{status: http.StatusOK} // PUT of a bucket, without a length
}
