package upload

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// scrubber takes signed URLs out of texts that come from outside: a proxy's page may quote the whole URL,
// and so may the error of a transport.
type scrubber struct{ secrets []string }

const redacted = "<redacted>"

var (
	urlQuery = regexp.MustCompile(`\?[^\s"'<>]+`)
	urlUser  = regexp.MustCompile(`//[^/\s"'<>@]+@`)
)

// newScrubber knows the secrets of a URL: its query, whole and value by value, and a password.
func newScrubber(raw string) scrubber {
	parsed, err := url.Parse(raw)
	if err != nil {
		return scrubber{secrets: []string{raw}}
	}
	secrets := []string{parsed.RawQuery}
	for _, pair := range strings.Split(parsed.RawQuery, "&") {
		_, value, _ := strings.Cut(pair, "=")
		plain, _ := url.QueryUnescape(value)
		secrets = append(secrets, value, plain)
	}
	if word, ok := parsed.User.Password(); ok {
		secrets = append(secrets, word)
	}
	return scrubber{secrets}
}

func (s scrubber) text(t string) string {
	for _, secret := range s.secrets {
		if len(secret) >= 8 { // shorter ones are words
			t = strings.ReplaceAll(t, secret, redacted)
		}
	}
	t = urlQuery.ReplaceAllString(t, "?"+redacted)
	return urlUser.ReplaceAllString(t, "//"+redacted+"@")
}

// error takes off the *url.Error, which holds the whole URL. An error that still shows
// something secret is replaced by its scrubbed text.
func (s scrubber) error(err error) error {
	if err == nil {
		return nil
	}
	if outer := (*url.Error)(nil); errors.As(err, &outer) {
		err = outer.Err
	}
	if clean := s.text(err.Error()); clean != err.Error() {
		return errors.New(clean)
	}
	return err
}
