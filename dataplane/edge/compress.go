package edge

import (
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/posternhq/postern/dataplane/integration"
)

// An API with a minimum compression size compresses the bodies of responses
// from that size on, if the client accepts it, and takes compressed requests
// (data-plane.md §9).

// encoding is a content coding that the edge knows (RFC 9110 §8.4.1). deflate
// is the zlib format.
type encoding string

const (
	identity encoding = ""
	gzipped  encoding = "gzip"
	deflated encoding = "deflate"
)

// accepted chooses the coding of a response from Accept-Encoding.
func accepted(values []string) encoding {
	best := identity
	for _, v := range values {
		for item := range strings.SplitSeq(v, ",") {
			name, parameters, _ := strings.Cut(item, ";")
			if refused(parameters) {
				continue
			}
			switch e := encoding(strings.ToLower(strings.TrimSpace(name))); e {
			case gzipped, "*":
				return gzipped
			case deflated:
				best = deflated
			}
		}
	}
	return best
}

// refused reports a weight of zero.
func refused(parameters string) bool {
	q, ok := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(parameters), " ", ""), "q=")
	if !ok {
		return false
	}
	weight, err := strconv.ParseFloat(q, 64)
	return err == nil && weight == 0
}

var gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// compressor is a response writer that compresses what turns out to be long
// enough. Until that is known it holds back the head and the beginning.
type compressor struct {
	http.ResponseWriter
	encoding encoding
	minimum  int

	status  int
	held    []byte
	decided bool
	out     io.Writer // nil: the plain writer
	end     func() error
}

func (c *compressor) WriteHeader(status int) {
	if c.status != 0 {
		return
	}
	c.status = status
	header := c.Header()
	switch {
	case status < 200 || status == http.StatusNoContent || status == http.StatusNotModified || header.Get("Content-Encoding") != "":
		c.decide(false)
	case header.Get("Content-Length") != "":
		n, err := strconv.Atoi(header.Get("Content-Length"))
		c.decide(err == nil && n > 0 && n >= c.minimum)
	}
}

// decide sends the head, and what was held back.
func (c *compressor) decide(compress bool) {
	c.decided = true
	if compress {
		header := c.Header()
		header.Del("Content-Length")
		header.Set("Content-Encoding", string(c.encoding))
		if c.encoding == gzipped {
			z := gzipWriters.Get().(*gzip.Writer)
			z.Reset(c.ResponseWriter)
			c.out, c.end = z, func() error { defer gzipWriters.Put(z); return z.Close() }
		} else {
			z := zlib.NewWriter(c.ResponseWriter)
			c.out, c.end = z, z.Close
		}
	}
	c.ResponseWriter.WriteHeader(c.status)
}

func (c *compressor) Write(p []byte) (int, error) {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	if !c.decided {
		c.held = append(c.held, p...)
		if len(c.held) < max(c.minimum, 1) {
			return len(p), nil
		}
		c.decide(true)
		held := c.held
		c.held = nil
		if _, err := c.writer().Write(held); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return c.writer().Write(p)
}

func (c *compressor) writer() io.Writer {
	if c.out != nil {
		return c.out
	}
	return c.ResponseWriter
}

// close ends the body. Nothing was written if the integration answered nothing:
// then the edge still may.
func (c *compressor) close() error {
	if c.status == 0 {
		return nil
	}
	if !c.decided {
		if c.Header().Get("Content-Length") == "" {
			c.Header().Set("Content-Length", strconv.Itoa(len(c.held)))
		}
		c.decide(false)
		if _, err := c.ResponseWriter.Write(c.held); err != nil {
			return err
		}
	}
	if c.end != nil {
		return c.end()
	}
	return nil
}

// decompress makes the body of a compressed request plain. What can't be
// decompressed fails as it is read.
func decompress(r *http.Request) {
	e := encoding(strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))))
	if e != gzipped && e != deflated || r.ContentLength == 0 {
		return
	}
	r.Header.Del("Content-Encoding")
	r.ContentLength = -1
	// The limit counts once more, so that a small request can't become a huge one.
	r.Body = http.MaxBytesReader(nil, &inflated{from: r.Body, encoding: e}, integration.MaxBody)
}

// inflated reads a compressed body; its head is read with the first Read.
type inflated struct {
	from     io.ReadCloser
	encoding encoding
	plain    io.Reader
	err      error
}

func (i *inflated) Read(p []byte) (int, error) {
	if i.plain == nil && i.err == nil {
		if i.encoding == gzipped {
			i.plain, i.err = gzip.NewReader(i.from)
		} else {
			i.plain, i.err = zlib.NewReader(i.from)
		}
		if i.err != nil {
			i.err = fmt.Errorf("%w: %w", integration.ErrBadBody, i.err)
		}
	}
	if i.err != nil {
		return 0, i.err
	}
	n, err := i.plain.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", integration.ErrBadBody, err)
	}
	return n, err
}

func (i *inflated) Close() error { return i.from.Close() }
