package integration

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// binaryTypes are the media types that an API treats as binary
// (data-plane.md §7.5).
type binaryTypes []string

func (b binaryTypes) match(contentType string) bool {
	if len(b) == 0 {
		return false
	}
	t := mediaType(contentType)
	return slices.ContainsFunc(b, func(s string) bool { return s == "*/*" || strings.EqualFold(s, t) })
}

// conversion is what happens to a body between client and backend.
type conversion uint8

const (
	keep conversion = iota
	encode
	decode
)

const (
	toBinary = "CONVERT_TO_BINARY"
	toText   = "CONVERT_TO_TEXT"
)

// ofRequest is the conversion of a request's body.
func (b binaryTypes) ofRequest(handling, contentType string) conversion {
	switch binary := b.match(contentType); {
	case handling == toBinary && !binary:
		return decode
	case handling == toText && binary:
		return encode
	}
	return keep
}

// ofResponse is the conversion of a response's body: by the integration
// response's handling, else by what the client accepts first.
func (b binaryTypes) ofResponse(handling, contentType string, accept []string) conversion {
	if len(b) == 0 && handling == "" {
		return keep
	}
	binary := b.match(contentType)
	wanted := false
	if handling == "" {
		first := ""
		if len(accept) > 0 {
			first, _, _ = strings.Cut(accept[0], ",")
		}
		wanted = b.match(first)
	}
	switch {
	case !binary && (handling == toBinary || wanted):
		return decode
	case binary && (handling == toText || handling == "" && !wanted):
		return encode
	}
	return keep
}

var errBase64 = errors.New("body is not base64")

// convert changes a body; what it returns has a known length.
func (c conversion) convert(body []byte) ([]byte, error) {
	switch c {
	case encode:
		return base64.StdEncoding.AppendEncode(nil, body), nil
	case decode:
		out, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(body))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errBase64, err)
		}
		return out, nil
	}
	return body, nil
}

// readAll reads a body of at most MaxBody bytes; ok is false for a longer one.
func readAll(r io.Reader) (body []byte, ok bool, err error) {
	body, err = io.ReadAll(io.LimitReader(r, MaxBody+1))
	if err != nil {
		return nil, false, err
	}
	return body, len(body) <= MaxBody, nil
}
