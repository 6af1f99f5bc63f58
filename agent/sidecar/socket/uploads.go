package socket

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/agent/files"
	"github.com/taskcluster/upload-agent/upload"
)

func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	run, err := s.run(r)
	var asked Upload
	if err == nil {
		err = decode(r, &asked)
	}
	var specs []files.Spec
	var where files.Options
	if err == nil {
		specs, where, err = asked.selection()
	}
	if err == nil {
		err = run.Progress().Err
	}
	if err != nil {
		refuse(w, err)
		return
	}
	found, problems := files.Select(specs, where)
	s.logger.Info("artifacts are asked for", "files", len(found), "problems", len(problems))
	answer := newLines(w)
	for _, p := range problems {
		answer.file(File{Name: p.Name, State: Refused, Reason: p.Err.Error()})
	}
	answer.end(addFiles(r.Context(), run, found, asked, answer))
}

// addFiles adds files to a run, the small ones first, and says what becomes of each. An error ends it early: that of the run, or of ctx.
func addFiles(ctx context.Context, run Run, found []files.File, asked Upload, answer *lines) error {
	slices.SortStableFunc(found, func(a, b files.File) int { return cmp.Compare(a.Size, b.Size) })
	var added []string
	for _, f := range found {
		err := run.AddArtifact(f.Name, f.Source, agent.ArtifactOptions{Gzip: asked.Gzip, Replace: asked.Replace})
		switch {
		case err == nil && asked.NoWait:
			answer.file(File{Name: f.Name, State: Waiting})
		case err == nil:
			added = append(added, f.Name)
		case run.Progress().Err != nil:
			return err
		default:
			answer.file(File{Name: f.Name, State: Refused, Reason: err.Error()})
		}
	}
	for _, name := range added {
		receipt, err := run.WaitArtifact(ctx, name)
		missing := (*agent.MissingError)(nil)
		switch {
		case err == nil:
			answer.file(storedFile(receipt))
		case errors.As(err, &missing):
			answer.file(File{Name: name, State: Missing, Reason: missing.Reason})
		default:
			return err
		}
	}
	return nil
}

// selection is what agent/files is to look for.
func (u Upload) selection() (specs []files.Spec, o files.Options, err error) {
	if !filepath.IsAbs(u.Dir) {
		return nil, o, badRequest{fmt.Errorf("dir %q: want an absolute path", u.Dir)}
	}
	if len(u.Specs) == 0 {
		return nil, o, badRequest{errors.New("no file is named")}
	}
	for _, text := range u.Specs {
		spec, err := files.Parse(text)
		if err != nil {
			return nil, o, badRequest{fmt.Errorf("%q: %w", text, err)}
		}
		if !filepath.IsAbs(spec.Folder) {
			spec.Folder = filepath.Join(u.Dir, spec.Folder)
		}
		specs = append(specs, spec)
	}
	for _, text := range u.Exclude {
		exclude, err := files.ParseExclude(text)
		if err != nil {
			return nil, o, badRequest{fmt.Errorf("exclude %q: %w", text, err)}
		}
		o.Exclude = append(o.Exclude, exclude)
	}
	switch u.Symlinks {
	case "", "inside":
	case "follow", "skip":
		o.Symlinks = upload.Symlinks(u.Symlinks)
	default:
		return nil, o, badRequest{fmt.Errorf("symlinks %q: want inside, follow or skip", u.Symlinks)}
	}
	o.HardLinks = true // the caller may do what we may, so they give it nothing
	return specs, o, nil
}

// lines is an answer of one line of JSON after the other, each sent at once. A caller that has gone reads none: that is not for us to mind.
type lines struct {
	json  *json.Encoder
	flush func() error
}

func newLines(w http.ResponseWriter) *lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	return &lines{json.NewEncoder(w), http.NewResponseController(w).Flush}
}

func (l *lines) send(v any) error {
	if err := l.json.Encode(v); err != nil {
		return err
	}
	return l.flush()
}

func (l *lines) file(f File) { _ = l.send(line{File: &f}) }

// end says that all is said, or why it is not.
func (l *lines) end(err error) {
	if err == nil {
		_ = l.send(line{Done: true})
		return
	}
	f, _ := failureOf(err)
	_ = l.send(line{Error: f.Message, Code: f.Code})
}
