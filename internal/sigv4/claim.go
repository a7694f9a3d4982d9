package sigv4

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// Algorithm begins the Authorization header of a signed request.
	Algorithm = "AWS4-HMAC-SHA256"
	// MaxSkew is how far the clock of a signer may be off.
	MaxSkew = 5 * time.Minute
	// MaxExpires is the longest life of a presigned URL.
	MaxExpires = 7 * 24 * time.Hour
	// Unsigned is the payload hash of a body that the signature does not cover.
	Unsigned = "UNSIGNED-PAYLOAD"

	terminator  = "aws4_request"
	dateLayout  = "20060102"
	timeLayout  = "20060102T150405Z"
	maxKeyID    = 128
	maxHeaders  = 100 // signed
	maxCredNote = 512 // of a header that an error quotes
)

// Claim is what a request says of its signature. Its texts are valid until the
// Verifier reads the next request.
type Claim struct {
	KeyID, Date, Region, Service []byte
	// Token is that of a session, empty for a key of a user.
	Token []byte
	// Time is when it was signed, to the second.
	Time time.Time
	// Presigned: it is in the query. Expires is how long it is good for then.
	Presigned bool
	Expires   time.Duration

	signed    []byte // header names, as sent
	signature [32]byte
}

// Signed reports whether a request claims to be signed, rightly or not.
func Signed(r *http.Request) bool {
	return len(r.Header["Authorization"]) > 0 || strings.Contains(r.URL.RawQuery, "X-Amz-Signature=")
}

// Parse reads the claim of a request. The error says what is wrong with its form.
func (v *Verifier) Parse(r *http.Request) (*Claim, error) {
	v.text = v.text[:0]
	v.claim = Claim{}
	c := &v.claim
	if values := r.Header["Authorization"]; len(values) > 0 {
		if err := v.header(c, values[0], r.Header); err != nil {
			return nil, err
		}
		return c, nil
	}
	if !strings.Contains(r.URL.RawQuery, "X-Amz-Signature=") {
		return nil, &Error{Code: MissingAuthenticationToken, Message: "Missing Authentication Token"}
	}
	if err := v.query(c, r.URL.RawQuery); err != nil {
		return nil, err
	}
	return c, nil
}

// header reads `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
// The commas may lack their spaces, and the order is free.
func (v *Verifier) header(c *Claim, value string, h http.Header) error {
	rest, ok := strings.CutPrefix(value, Algorithm)
	if !ok || rest == "" || rest[0] != ' ' && rest[0] != '\t' {
		// AWS looks for the parts before it looks at the algorithm.
		scheme, _, _ := strings.Cut(value, " ")
		if !strings.Contains(value, "=") || !strings.HasPrefix(scheme, "AWS4") {
			return incomplete("'%s' not a valid key=value pair (missing equal-sign) in Authorization header: '%s'.", quoted(lastWord(value)), quoted(value))
		}
		return incomplete("Unsupported AWS 'algorithm': '%s'.", quoted(scheme))
	}
	var credential, signature string
	var signed string
	for len(rest) > 0 {
		var part string
		part, rest, _ = strings.Cut(rest, ",")
		part = strings.Trim(part, " \t")
		if part == "" {
			continue
		}
		name, text, ok := strings.Cut(part, "=")
		if !ok {
			return incomplete("'%s' not a valid key=value pair (missing equal-sign) in Authorization header: '%s'.", quoted(part), quoted(value))
		}
		switch name {
		case "Credential":
			credential = text
		case "SignedHeaders":
			signed = text
		case "Signature":
			signature = text
		}
	}
	date := first(h["X-Amz-Date"])
	if date == "" {
		date = first(h["Date"])
	}
	missing := ""
	for _, part := range [...]struct{ text, name string }{
		{credential, "'Credential' parameter"}, {signature, "'Signature' parameter"}, {signed, "'SignedHeaders' parameter"},
		{date, "existence of either a 'X-Amz-Date' or a 'Date' header"},
	} {
		if part.text == "" {
			missing += "Authorization header requires " + part.name + ". "
		}
	}
	if missing != "" {
		return incomplete("%sAuthorization=%s", missing, quoted(value))
	}
	c.Token = v.keep(first(h["X-Amz-Security-Token"]))
	c.signed = v.keep(signed)
	if err := c.credential(v.keep(credential)); err != nil {
		return err
	}
	if err := c.sign(v.keep(signature)); err != nil {
		return err
	}
	return c.at(v.keep(date))
}

// query reads a presigned URL. Of a parameter that is there twice the first counts.
func (v *Verifier) query(c *Claim, raw string) error {
	c.Presigned = true
	var algorithm, credential, signature, date, expires []byte
	for raw != "" {
		var part string
		part, raw, _ = strings.Cut(raw, "&")
		name, value, _ := strings.Cut(part, "=")
		var into *[]byte
		switch name {
		case "X-Amz-Algorithm":
			into = &algorithm
		case "X-Amz-Credential":
			into = &credential
		case "X-Amz-Signature":
			into = &signature
		case "X-Amz-Date":
			into = &date
		case "X-Amz-Expires":
			into = &expires
		case "X-Amz-SignedHeaders":
			into = &c.signed
		case "X-Amz-Security-Token":
			into = &c.Token
		default:
			continue
		}
		if *into == nil {
			start := len(v.text)
			v.text = unescape(v.text, value)
			*into = v.text[start:len(v.text):len(v.text)]
		}
	}
	missing := ""
	for _, part := range [...]struct {
		text []byte
		name string
	}{
		{algorithm, "Algorithm"}, {credential, "Credential"}, {signature, "Signature"}, {c.signed, "SignedHeaders"}, {date, "Date"}, {expires, "Expires"},
	} {
		if len(part.text) == 0 {
			missing += "AWS query-string parameters must include 'X-Amz-" + part.name + "'. "
		}
	}
	if missing != "" {
		return incomplete("%sRe-examine the query-string parameters.", missing)
	}
	if string(algorithm) != Algorithm {
		return incomplete("Unsupported AWS 'algorithm': '%s'.", quoted(string(algorithm)))
	}
	n, err := strconv.ParseUint(string(expires), 10, 32)
	if c.Expires = time.Duration(n) * time.Second; err != nil || n == 0 || c.Expires > MaxExpires {
		return incomplete("X-Amz-Expires must be a number of seconds from 1 to %d: '%s'.", int(MaxExpires/time.Second), quoted(string(expires)))
	}
	if err := c.credential(credential); err != nil {
		return err
	}
	if err := c.sign(signature); err != nil {
		return err
	}
	return c.at(date)
}

// keep copies a text to where the Claim's texts are.
func (v *Verifier) keep(s string) []byte {
	start := len(v.text)
	v.text = append(v.text, s...)
	return v.text[start:len(v.text):len(v.text)]
}

// credential takes KEY/20150830/us-east-1/service/aws4_request apart, from the
// end.
func (c *Claim) credential(text []byte) error {
	whole := text
	var parts [4][]byte
	for i := range parts {
		at := bytes.LastIndexByte(text, '/')
		if at < 0 {
			return incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", quoted(string(whole)))
		}
		parts[i], text = text[at+1:], text[:at]
	}
	c.KeyID, c.Date, c.Region, c.Service = text, parts[3], parts[2], parts[1]
	switch {
	case bytes.IndexByte(text, '/') >= 0:
		return incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", quoted(string(whole)))
	case len(text) == 0 || len(text) > maxKeyID:
		return incomplete("Credential has no access key id of 1 to %d characters", maxKeyID)
	case string(parts[0]) != terminator:
		return invalid("Credential should be scoped with a valid terminator: '%s', not '%s'.", terminator, quoted(string(parts[0])))
	}
	return nil
}

func (c *Claim) sign(signature []byte) error {
	// Not into c directly: a text of another length must not leave half of one.
	if len(signature) != hex.EncodedLen(len(c.signature)) {
		return mismatch()
	}
	for i := range c.signature {
		high, low := lowerHex(signature[2*i]), lowerHex(signature[2*i+1])
		if high > 15 || low > 15 {
			return mismatch()
		}
		c.signature[i] = high<<4 | low
	}
	return nil
}

// lowerHex is the value of a digit; AWS writes them in lower case, and so must
// whoever signs. More than 15: it is none.
func lowerHex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// at reads the time, which is that of X-Amz-Date or of an HTTP date.
func (c *Claim) at(text []byte) error {
	t, ok := basicTime(text)
	if !ok {
		var err error
		if t, err = http.ParseTime(string(text)); err != nil || c.Presigned {
			return incomplete("Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", quoted(string(text)))
		}
	}
	c.Time = t.UTC()
	var day [8]byte
	if string(c.Time.AppendFormat(day[:0], dateLayout)) != string(c.Date) {
		return invalid("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.",
			quoted(string(c.Date)), c.Time.Format(dateLayout), c.Time.Format(timeLayout))
	}
	return nil
}

// basicTime reads a time as in 20150830T123600Z.
func basicTime(b []byte) (time.Time, bool) {
	if len(b) != len(timeLayout) || b[8] != 'T' || b[15] != 'Z' {
		return time.Time{}, false
	}
	number := func(from, to int) int {
		n := 0
		for _, c := range b[from:to] {
			if c < '0' || c > '9' {
				return -1
			}
			n = n*10 + int(c-'0')
		}
		return n
	}
	year, month, day := number(0, 4), number(4, 6), number(6, 8)
	hour, minute, second := number(9, 11), number(11, 13), number(13, 15)
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	// Whatever is out of its range, or no number, comes out as another.
	return t, t.Year() == year && int(t.Month()) == month && t.Day() == day && t.Hour() == hour && t.Minute() == minute && t.Second() == second
}

// CheckTime refuses what was signed too long ago, or is yet to come.
func (c *Claim) CheckTime(now time.Time) error {
	now = now.UTC().Truncate(time.Second)
	life := MaxSkew
	if c.Presigned {
		life = c.Expires
	}
	switch oldest := now.Add(-life); {
	case c.Time.Before(oldest):
		return invalid("Signature expired: %s is now earlier than %s (%s - %s.)", c.Time.Format(timeLayout), oldest.Format(timeLayout), now.Format(timeLayout), minutes(life))
	case c.Time.After(now.Add(MaxSkew)):
		return invalid("Signature not yet current: %s is still later than %s (%s + %s.)", c.Time.Format(timeLayout), now.Add(MaxSkew).Format(timeLayout), now.Format(timeLayout), minutes(MaxSkew))
	}
	return nil
}

func minutes(d time.Duration) string {
	if d%time.Minute == 0 {
		return strconv.Itoa(int(d/time.Minute)) + " min"
	}
	return strconv.Itoa(int(d/time.Second)) + " s"
}

// CheckScope refuses what was signed for another region or service.
func (c *Claim) CheckScope(region, service string) error {
	switch {
	case string(c.Region) != region:
		return invalid("Credential should be scoped to a valid region. ")
	case string(c.Service) != service:
		return invalid("Credential should be scoped to correct service: '%s'. ", service)
	}
	return nil
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func lastWord(s string) string { return s[strings.LastIndexByte(s, ' ')+1:] }

// quoted is a text that an error may repeat.
func quoted(s string) string {
	if len(s) > maxCredNote {
		return s[:maxCredNote]
	}
	return s
}

// Error is a refusal as AWS words it.
type Error struct {
	// Code is AWS's error code, with or without "Exception" behind it as the protocol has it.
	Code    Code
	Message string
}

// Code is what kind of refusal it is.
type Code string

// The codes of AWS.
const (
	MissingAuthenticationToken Code = "MissingAuthenticationToken"
	IncompleteSignature        Code = "IncompleteSignature"
	InvalidSignature           Code = "InvalidSignature"
)

func (e *Error) Error() string { return e.Message }

func incomplete(format string, args ...any) *Error {
	return &Error{IncompleteSignature, fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *Error {
	return &Error{InvalidSignature, fmt.Sprintf(format, args...)}
}

func mismatch() *Error {
	return &Error{InvalidSignature, "The request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}
}
