package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskcluster/upload-agent/livelog"
)

// tail -f reads from the worker while that answers, and from the storage where it does not, or does not any more: each byte once.
func TestTailPrefersTheWorker(t *testing.T) {
	text := strings.Repeat("0123456789abcde\n", 10_000)
	spool, err := livelog.Create(filepath.Join(t.TempDir(), "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Remove()
	fmt.Fprint(spool, text[:len(text)/2]+"of the worker\n")
	spool.Close()
	whole := livelog.NewHandler(t.Context(), spool, "log", nil, livelog.HandlerOptions{Public: true})
	tears := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Query().Get("offset") != "" { // the connection was torn, and the worker is gone
			w.WriteHeader(http.StatusGone)
			return
		}
		w.Header().Set("Log-Offset", "0")
		fmt.Fprint(w, text[:1000])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	for what, row := range map[string]struct {
		worker http.Handler // nil: nobody is there
		flags  []string
		want   string
	}{
		"answers":          {whole, nil, text[:len(text)/2] + "of the worker\n"},
		"answers, -n":      {whole, []string{"-n", "1"}, "of the worker\n"},
		"tears":            {tears, nil, text},
		"is gone":          {http.NotFoundHandler(), nil, text},
		"is gone, -n":      {http.NotFoundHandler(), []string{"-n", "2"}, text[len(text)-32:]},
		"is gone, -offset": {http.NotFoundHandler(), []string{"--offset", "16"}, text[16:]},
		"is not there":     {nil, nil, text},
	} {
		t.Run(what, func(t *testing.T) {
			worker := httptest.NewServer(row.worker)
			defer worker.Close()
			if row.worker == nil {
				worker.Close()
			}
			storage := storageOf(t, map[string]string{
				"task.json": goodTask, "text": text,
				"runs/0/logs.json": logsOf(`"terminal.log":"STORAGE/` + goodID + `/text","stream/terminal.log":"` + worker.URL + `/"`),
			})
			var stdout, stderr bytes.Buffer
			args := append(append([]string{"upload-agent", "tail", "-f", "--storage", storage}, row.flags...), goodID+"/0")
			if status := run(args, nil, &stdout, &stderr); status != 0 || stdout.String() != row.want {
				t.Errorf("status %d, %d bytes, %s; want %d", status, stdout.Len(), stderr.String(), len(row.want))
			}
		})
	}
}
