package socket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/taskcluster/upload-agent/agent"
	"github.com/taskcluster/upload-agent/livelog"
	"github.com/taskcluster/upload-agent/schema"
)

// Client speaks with the agent behind a socket. Its methods are safe for concurrent use.
type Client struct {
	path  string
	token string
	query url.Values
	http  *http.Client
}

// Caller says which run a caller means. The zero value is right where the agent has a single one.
type Caller struct {
	TaskID schema.TaskID
	RunID  schema.RunID
}

// Connect prepares to speak with the agent behind the socket at path. Close it after use. The error says what is wrong with the socket:
// [ErrNoAgent], [ErrUser] or [ErrPathTooLong]; but only a call tells whether an agent answers.
func Connect(path string, who Caller) (*Client, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("connect to agent: %w", err)
	}
	if len(path) > maxPath {
		return nil, fmt.Errorf("connect to agent: %s: %w", path, ErrPathTooLong)
	}
	token, err := readToken(path)
	if err != nil {
		return nil, fmt.Errorf("connect to agent: %w", unreachable(path, err))
	}
	c := &Client{path: path, token: token, query: url.Values{}}
	if who.TaskID != "" {
		c.query.Set("task", string(who.TaskID))
		c.query.Set("run", strconv.Itoa(int(who.RunID)))
	}
	c.http = &http.Client{
		Transport:     &http.Transport{DialContext: c.dial, DisableCompression: true, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// dial speaks with nobody but our own user and root: what follows may be a secret.
func (c *Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.path)
	if err != nil {
		return nil, unreachable(c.path, err)
	}
	if who, ok := conn.(*net.UnixConn); ok {
		other := caller{}
		if other.uid, other.known, other.err = peer(who); other.check() != nil {
			return nil, errors.Join(fmt.Errorf("%s is %w socket: user id %d serves it", c.path, ErrUser, other.uid), conn.Close())
		}
	}
	return conn, nil
}

// unreachable says what an error means that came from the file system or from connecting.
func unreachable(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s is %w: use the agent's user, or root", path, ErrUser)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENOTSOCK):
		return fmt.Errorf("%w: nobody serves %s; the agent has ended", ErrNoAgent, path)
	}
	return err
}

// Upload has files uploaded, and calls each with every file as soon as it is known what has become of it. An error of each ends it. Without an error every
// file was told of; that does not mean that all are stored: see [State].
func (c *Client) Upload(ctx context.Context, u Upload, each func(File) error) error {
	err := c.call(ctx, http.MethodPost, "/v1/artifacts", nil, u, func(body io.Reader) error {
		lines := json.NewDecoder(body)
		for {
			var l line
			if err := lines.Decode(&l); err != nil {
				return cutOff(ctx, err)
			}
			switch {
			case l.Error != "":
				return failure{l.Error, l.Code}.err()
			case l.Done:
				return nil
			case l.File == nil:
				return errors.New("read the agent's answer: a line says nothing")
			}
			if err := each(*l.File); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return fmt.Errorf("upload artifacts: %w", err)
	}
	return nil
}

// cutOff is an answer that ends before its end.
func cutOff(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w any more: it has ended in the middle of its answer (%w)", ErrNoAgent, err)
}

// Redact keeps values out of all that is written to the logs from now on: what was written before stays as it is. Those that are
// too short are livelog.ErrShortSecret; all others are redacted all the same.
func (c *Client) Redact(ctx context.Context, values ...string) error {
	var asked redactions
	for _, value := range values {
		asked.Base64 = append(asked.Base64, []byte(value))
	}
	if err := c.call(ctx, http.MethodPost, "/v1/redactions", nil, asked, func(io.Reader) error { return nil }); err != nil {
		return fmt.Errorf("redact value: %w", err)
	}
	return nil
}

// Status is how far the run has come.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/status", nil, nil, func(body io.Reader) error {
		return json.NewDecoder(body).Decode(&s)
	})
	if err != nil {
		return s, fmt.Errorf("ask for status: %w", err)
	}
	return s, nil
}

// Watch calls each with the status now, and with every later one, until the run has ended, or its command, or ctx, or each returns an error.
func (c *Client) Watch(ctx context.Context, each func(Status) error) error {
	err := c.call(ctx, http.MethodGet, "/v1/status", url.Values{"follow": {"1"}}, nil, func(body io.Reader) error {
		lines := json.NewDecoder(body)
		for {
			var s Status
			switch err := lines.Decode(&s); {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return cutOff(ctx, err)
			}
			if err := each(s); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return fmt.Errorf("watch status: %w", err)
	}
	return nil
}

// call sends a request and has the answer read, if it is no refusal.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body any, read func(io.Reader) error) error {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		if len(text) > MaxRequest {
			return fmt.Errorf("the request has %d bytes, and may have %d; quote globs, so that the agent expands them", len(text), MaxRequest)
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://agent"+path+"?"+c.query.Encode()+"&"+query.Encode(), content)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	answer, err := c.http.Do(request)
	if err != nil {
		if outer := (*url.Error)(nil); errors.As(err, &outer) {
			err = outer.Err
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		var f failure
		if err := json.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(&f); err != nil || f.Message == "" {
			f.Message = answer.Status
		}
		return f.err()
	}
	return read(answer.Body)
}

// err is a refusal as an error.
func (f failure) err() error {
	e := &Error{Message: f.Message}
	switch f.Code {
	case codeUser:
		e.Err = ErrUser
	case codeToken:
		e.Err = ErrToken
	case codeNoRun:
		e.Err = ErrNoRun
	case codeTooShort:
		e.Err = livelog.ErrShortSecret
	case codeClaimLost:
		e.Err = agent.ErrClaimLost
	case codeEnded:
		e.Err = agent.ErrEnded
	}
	return e
}

// Environ is the caller that a task's environment names.
func Environ() (path string, who Caller) {
	who.TaskID = schema.TaskID(os.Getenv("TASK_ID"))
	if number, err := strconv.Atoi(os.Getenv("RUN_ID")); err == nil && number >= 0 {
		who.RunID = schema.RunID(number)
	}
	return os.Getenv(Variable), who
}
