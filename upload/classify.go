package upload

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// verdict is what to do after an attempt.
type verdict int

const (
	stored      verdict = iota // the storage has it
	retry                      // same URL, after a pause
	retryPlain                 // the same at once, without Expect: 100-continue
	retryHashed                // hash the source again; the same once more if it is unchanged, then stop
	renew                      // the signed URL has expired: never send it again, ask for a fresh one
	renewOnce                  // the signed URL is refused: try a fresh one, then stop
	stop                       // it would end alike each time
)

// byCode is what the error codes of object storages mean, whatever the status they come with: RequestTimeout is a 400
// and can be retried, an expired token is a 400 at one storage and a 403 at another.
// Sources: the lists of error codes of Amazon S3, Google Cloud Storage (XML API) and MinIO. Codes that are not here go by the status.
var byCode = map[string]verdict{
	"ExpiredToken":   renew,
	"RequestExpired": renew,

	"AccessDenied":                      renewOnce,
	"SignatureDoesNotMatch":             renewOnce,
	"InvalidAccessKeyId":                renewOnce,
	"InvalidToken":                      renewOnce,
	"InvalidSecurity":                   renewOnce,
	"RequestTimeTooSkewed":              renewOnce,
	"AuthorizationQueryParametersError": renewOnce,

	"RequestTimeout":             retry,
	"SlowDown":                   retry,
	"SlowDownWrite":              retry,
	"ServiceUnavailable":         retry,
	"InternalError":              retry,
	"Busy":                       retry,
	"ServerBusy":                 retry,
	"Throttling":                 retry,
	"ThrottlingException":        retry,
	"RequestLimitExceeded":       retry,
	"TooManyRequests":            retry,
	"OperationAborted":           retry,
	"ConditionalRequestConflict": retry,
	"IncompleteBody":             retry, // the source never sends too few bytes; the way does

	"BadDigest":                   retryHashed,
	"XAmzContentChecksumMismatch": retryHashed,

	"EntityTooLarge":       stop,
	"EntityTooSmall":       stop,
	"InvalidArgument":      stop,
	"InvalidRequest":       stop,
	"InvalidDigest":        stop,
	"KeyTooLongError":      stop,
	"MalformedXML":         stop,
	"MethodNotAllowed":     stop,
	"MissingContentLength": stop,
	"NoSuchBucket":         stop,
	"NoSuchUpload":         stop,
	"InvalidPart":          stop,
	"InvalidPartOrder":     stop,
	"NotImplemented":       stop,
	"PreconditionFailed":   stop,
}

// classify says what to do after an answer, and what kind of error it is.
func classify(a answer) (verdict, error) {
	if a.status >= 200 && a.status <= 299 {
		return stored, nil
	}
	v, known := byCode[a.code]
	if !known {
		v = byStatus(a.status)
	}
	// Amazon and MinIO say AccessDenied of an expired URL too, and only the message tells.
	if v == renewOnce && strings.Contains(strings.ToLower(a.message), "expired") {
		v = renew
	}
	return v, kindOfAnswer(v, a.status)
}

func byStatus(status int) verdict {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return renewOnce
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return retry
	case http.StatusExpectationFailed:
		return retryPlain
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusNetworkAuthenticationRequired:
		return stop
	}
	if status >= 500 {
		return retry
	}
	return stop
}

func kindOfAnswer(v verdict, status int) error {
	switch v {
	case renew:
		return ErrExpired
	case renewOnce:
		return ErrDenied
	case retry:
		return ErrUnavailable
	case retryHashed:
		return ErrDigest
	}
	switch {
	case status == http.StatusProxyAuthRequired || status == http.StatusNetworkAuthenticationRequired:
		return ErrProxy
	case status >= 300 && status <= 399:
		return ErrRedirected
	}
	return ErrRejected
}

// retryAfter is how long an answer asks to wait, as seconds or as a date; 0 if it does not, or makes no sense.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date // both by the storage's clock
	}
	return max(0, at.Sub(now))
}
