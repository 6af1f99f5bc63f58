package upload

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestClassify(t *testing.T) {
	for _, test := range []struct {
		status        int
		code, message string
		verdict       verdict
		kind          error
	}{
		{200, "", "", stored, nil},
		{201, "", "", stored, nil},
		{204, "", "", stored, nil},
		{300, "", "", stop, ErrRedirected},
		{301, "PermanentRedirect", "", stop, ErrRedirected},
		{304, "", "", stop, ErrRedirected},
		{307, "TemporaryRedirect", "", stop, ErrRedirected},
		{400, "", "", stop, ErrRejected},
		{400, "BadDigest", "", retryHashed, ErrDigest},
		{400, "EntityTooLarge", "", stop, ErrRejected},
		{400, "ExpiredToken", "", renew, ErrExpired},
		{400, "IncompleteBody", "", retry, ErrUnavailable},
		{400, "RequestTimeout", "", retry, ErrUnavailable},
		{400, "SomethingNew", "", stop, ErrRejected},
		{401, "", "", renewOnce, ErrDenied},
		{403, "", "", renewOnce, ErrDenied},
		{403, "AccessDenied", "Access Denied", renewOnce, ErrDenied},
		{403, "AccessDenied", "Request has expired", renew, ErrExpired},
		{403, "AccessDenied", "REQUEST HAS EXPIRED", renew, ErrExpired},
		{403, "", "403: the link has expired", renew, ErrExpired},
		{403, "ExpiredToken", "", renew, ErrExpired},
		{403, "InvalidAccessKeyId", "", renewOnce, ErrDenied},
		{403, "RequestTimeTooSkewed", "", renewOnce, ErrDenied},
		{403, "SignatureDoesNotMatch", "", renewOnce, ErrDenied},
		{403, "SlowDown", "", retry, ErrUnavailable},
		{404, "", "", stop, ErrRejected},
		{404, "NoSuchBucket", "", stop, ErrRejected},
		{407, "", "", stop, ErrProxy},
		{408, "", "", retry, ErrUnavailable},
		{409, "OperationAborted", "", retry, ErrUnavailable},
		{409, "ObjectParentIsFile", "", stop, ErrRejected}, // as storages that keep objects as files say
		{409, "", "", stop, ErrRejected},
		{411, "MissingContentLength", "", stop, ErrRejected},
		{412, "PreconditionFailed", "", stop, ErrRejected},
		{413, "", "", stop, ErrRejected},
		{417, "", "", retryPlain, ErrRejected},
		{425, "", "", retry, ErrUnavailable},
		{429, "", "", retry, ErrUnavailable},
		{500, "InternalError", "", retry, ErrUnavailable},
		{500, "", "certificate expired", retry, ErrUnavailable},
		{501, "NotImplemented", "", stop, ErrRejected},
		{502, "", "", retry, ErrUnavailable},
		{503, "SlowDown", "", retry, ErrUnavailable},
		{503, "AccessDenied", "Request has expired", renew, ErrExpired},
		{503, "EntityTooLarge", "", stop, ErrRejected},
		{504, "", "", retry, ErrUnavailable},
		{511, "", "", stop, ErrProxy},
		{599, "", "", retry, ErrUnavailable},
	} {
		v, kind := classify(answer{status: test.status, code: test.code, message: test.message})
		if v != test.verdict || kind != test.kind {
			t.Errorf("%d %s %q: got %v, %v; want %v, %v", test.status, test.code, test.message, v, kind, test.verdict, test.kind)
		}
	}
}

func TestParseAnswer(t *testing.T) {
	for name, test := range map[string]struct{ body, code, message string }{
		"Amazon": {`<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>AccessDenied</Code><Message>Request has expired</Message><Expires>2014-04-20T13:00:00Z</Expires></Error>`, "AccessDenied", "Request has expired"},
		"signature": {`<Error><Code>SignatureDoesNotMatch</Code><Message>No
match</Message><StringToSign>PUT secret</StringToSign></Error>`, "SignatureDoesNotMatch", "No match"},
		"namespace":       {`<x:Error xmlns:x="http://s3.amazonaws.com/doc/2006-03-01/"><x:Code>SlowDown</x:Code></x:Error>`, "SlowDown", ""},
		"within response": {`<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate</Message></Error></ErrorResponse>`, "Throttling", "Rate"},
		"byte order mark": {"\ufeff<Error><Code>SlowDown</Code></Error>", "SlowDown", ""},
		"charset":         {`<?xml version="1.0" encoding="ISO-8859-1"?><Error><Code>SlowDown</Code></Error>`, "SlowDown", ""},
		"CDATA":           {`<Error><Code><![CDATA[SlowDown]]></Code></Error>`, "SlowDown", ""},
		"first counts":    {`<Error><Code>A</Code><Code>B</Code><Message>a</Message><Message>b</Message></Error>`, "A", "a"},
		"cut off":         {`<Error><Code>SlowDown</Code><Message>Please red`, "SlowDown", "Please red"},
		"code is no word": {`<Error><Code>a b</Code><Message>m</Message></Error>`, "", "m"},
		"HTML":            {"<!DOCTYPE html>\n<html><head><title>502 Bad\nGateway</title></head><body><h1>x</h1></body></html>", "", "502 Bad Gateway"},
		"HTML, no title":  {"<html><body><h1>Nope</h1><hr>nginx</body></html>", "", "Nope nginx"},
		"other XML":       {"<Other><Code>A</Code></Other>", "", "A"},
		"text":            {"  upstream\tconnect\x00 error\n", "", "upstream connect error"},
		"JSON":            {`{"message":"no"}`, "", `{"message":"no"}`},
		"empty":           {"", "", ""},
		"not UTF-8":       {"\xff\xfe", "", "\ufffd"},
		"long":            {strings.Repeat("x", 1000), "", strings.Repeat("x", 300) + "..."},
	} {
		if code, message := parseAnswer([]byte(test.body)); code != test.code || message != test.message {
			t.Errorf("%s: got %q, %q; want %q, %q", name, code, message, test.code, test.message)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>`))
	f.Add([]byte(`<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>`))
	f.Add([]byte("<html><title>502</title>"))
	f.Add([]byte("\ufeff<Error><Code><![CDATA[a]]>"))
	f.Add([]byte("plain\x00text"))
	f.Fuzz(func(t *testing.T, data []byte) {
		code, message := parseAnswer(data)
		if code != "" && !plausibleCode.MatchString(code) {
			t.Errorf("code %q", code)
		}
		if !utf8.ValidString(message) || utf8.RuneCountInString(message) > maxMessage+3 {
			t.Errorf("message %q", message)
		}
		if strings.ContainsFunc(message, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("message holds control characters: %q", message)
		}
	})
}

func TestSkewIsAMedian(t *testing.T) {
	now := time.Date(2014, 4, 20, 13, 0, 0, 0, time.UTC)
	date := func(skew time.Duration) http.Header {
		return http.Header{"Date": {now.Add(skew).Format(http.TimeFormat)}}
	}
	var c clocks
	if skew, ok := c.skew("a"); ok || skew != 0 {
		t.Errorf("unheard: %v, %v", skew, ok)
	}
	c.heard("a", http.Header{"Date": {"junk"}}, now)
	c.heard("a", http.Header{}, now)
	if _, ok := c.skew("a"); ok {
		t.Error("junk was heard")
	}
	for range 20 {
		c.heard("a", date(time.Minute), now)
	}
	c.heard("a", date(-20*365*24*time.Hour), now)
	c.heard("a", date(20*365*24*time.Hour), now)
	if skew, ok := c.skew("a"); !ok || skew != time.Minute+time.Second/2 {
		t.Errorf("two odd ones: %v, %v", skew, ok)
	}
	if n := len(c.byHost["a"].kept); n != samples {
		t.Errorf("%d samples kept", n)
	}
	c.heard("b", date(time.Hour), now)
	if skew, _ := c.skew("a"); skew != time.Minute+time.Second/2 {
		t.Errorf("another host counts: %v", skew)
	}
	if c.latest() != time.Hour+time.Second/2 {
		t.Errorf("latest is %v", c.latest())
	}
}

func TestScrub(t *testing.T) {
	s := newScrubber("https://h/a?X=c2VjcmV0%2Bx%3D&b=1&Expires=1397998800")
	for in, want := range map[string]string{
		"GET https://h/a?X=c2VjcmV0%2Bx%3D&b=1&Expires=1397998800 failed": "GET https://h/a?<redacted> failed",
		"signature c2VjcmV0+x= is wrong":                                  "signature <redacted> is wrong",
		"signature c2VjcmV0%2Bx%3D is wrong":                              "signature <redacted> is wrong",
		"proxy http://me:word@proxy.test/ says no":                        "proxy http://<redacted>@proxy.test/ says no",
		`<a href="https://other/?token=x">1 and b</a>?`:                   `<a href="https://other/?<redacted>">1 and b</a>?`,
		"why? because": "why? because",
	} {
		if got := s.text(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
