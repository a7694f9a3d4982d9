package edge

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/dataplane/integration"
)

func compressed(t *testing.T, e encoding, text string) string {
	t.Helper()
	var b bytes.Buffer
	var z io.WriteCloser = gzip.NewWriter(&b)
	if e == deflated {
		z = zlib.NewWriter(&b)
	}
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func plain(t *testing.T, e encoding, text string) string {
	t.Helper()
	var r io.Reader
	var err error
	switch e {
	case gzipped:
		r, err = gzip.NewReader(strings.NewReader(text))
	case deflated:
		r, err = zlib.NewReader(strings.NewReader(text))
	default:
		return text
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCompression(t *testing.T) {
	var got string
	var header http.Header
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // of a request that was broken off, maybe after the next has begun
		}
		got, header = string(body), r.Header
		switch r.URL.Path {
		case "/coded":
			w.Header().Set("Content-Encoding", "br")
		case "/chunked":
			_ = http.NewResponseController(w).Flush()
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = w.Write(body)
	}))
	defer backend.Close()
	w := proxied(newWorld(), backend.URL)
	w.stages[0].MinimumCompressionSize = proto.Int32(100)
	r := start(t, w, nil)
	long, short := strings.Repeat("a long body ", 50), "short"
	for _, test := range []struct {
		method, path, accept, body string
		want                       encoding
	}{
		{"POST", "x", "gzip", long, gzipped},
		{"POST", "chunked", "br, gzip;q=0.5", long, gzipped},
		{"POST", "x", "deflate", long, deflated},
		{"POST", "x", "gzip;q=0, deflate", long, deflated},
		{"POST", "x", "*", long, gzipped},
		{"POST", "x", "identity", long, identity},
		{"POST", "x", "br", long, identity},
		{"POST", "x", "gzip", short, identity},
		{"POST", "chunked", "gzip", short, identity},
		{"POST", "empty", "gzip", "", identity},
		{"HEAD", "x", "gzip", "", identity},
	} {
		name := fmt.Sprintf("%s %s, accept %s, %d bytes", test.method, test.path, test.accept, len(test.body))
		c := privateCall()
		c.method, c.path, c.body = test.method, "/prod/proxy/"+test.path, test.body
		c.header = http.Header{"Accept-Encoding": {test.accept}}
		res := r.must(c)
		if e := encoding(res.header.Get("Content-Encoding")); e != test.want {
			t.Errorf("%s: encoding %q", name, e)
			continue
		}
		if text := plain(t, test.want, res.body); text != test.body {
			t.Errorf("%s: got %d bytes", name, len(text))
		}
	}
	c := privateCall()
	c.method, c.path, c.body = "POST", "/prod/proxy/coded", long
	c.header = http.Header{"Accept-Encoding": {"gzip"}}
	if res := r.must(c); res.header.Get("Content-Encoding") != "br" || res.body != long {
		t.Errorf("a coded answer was coded again: %s", res.header.Get("Content-Encoding"))
	}
	// The edge's own answers stay as they are.
	c.method, c.path = "GET", "/prod/nothing"
	if res := r.must(c); res.status != 403 || res.header.Get("Content-Encoding") != "" {
		t.Errorf("got %d, encoding %q", res.status, res.header.Get("Content-Encoding"))
	}

	for _, e := range []encoding{gzipped, deflated} {
		c := privateCall()
		c.method, c.path, c.body = "POST", "/prod/proxy/x", compressed(t, e, long)
		c.header = http.Header{"Content-Encoding": {string(e)}}
		if res := r.must(c); res.status != 200 || got != long || header.Get("Content-Encoding") != "" {
			t.Errorf("%s request: status %d, the backend got %d bytes, encoding %q", e, res.status, len(got), header.Get("Content-Encoding"))
		}
		c.body = "not compressed"
		if res := r.must(c); res.status != 400 || res.body != answers[bodyInvalid].body {
			t.Errorf("%s request that is none: got %d %s", e, res.status, res.body)
		}
		c.body = compressed(t, e, strings.Repeat("0", integration.MaxBody+1))
		if res := r.must(c); res.status != 413 {
			t.Errorf("%s request that swells: got %d", e, res.status)
		}
	}
}
