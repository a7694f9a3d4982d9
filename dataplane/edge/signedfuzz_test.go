package edge

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/internal/sigv4"
)

// No change of a signed request verifies but those that signatures don't cover
// by AWS's own rules. A mutation is bytes put in place of others in the request
// as it is on the wire.
func FuzzSignedRequest(f *testing.F) {
	w := newWorld()
	w.signedMethods()
	bob := w.user(account, "bob", document("Allow", ""))
	e := w.edge(f)
	wire := func(t testing.TB) []byte {
		r, err := http.NewRequestWithContext(t.Context(), "POST", petsURL+"?b=2&a=1", strings.NewReader("the body"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Signed", "a value")
		bob.sign(t, r, "the body")
		var b bytes.Buffer
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	length := len(wire(f))
	for _, seed := range []struct {
		at, cut uint16
		put     string
	}{{0, 4, "GET"}, {5, 0, "x"}, {6, 4, "other"}, {uint16(length - 1), 1, "X"}, {uint16(length - 8), 8, "the bodY"}, {20, 1, "3"}, {200, 1, "0"}, {300, 3, ""}, {0, 0, ""}} {
		f.Add(seed.at, seed.cut, seed.put)
	}
	f.Fuzz(func(t *testing.T, at, cut uint16, put string) {
		whole := wire(t)
		start := min(int(at), len(whole))
		end := min(start+int(cut), len(whole))
		changed := append(append(append([]byte{}, whole[:start]...), put...), whole[end:]...)
		before, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(whole)))
		if err != nil {
			t.Fatal(err)
		}
		after, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(changed)))
		if err != nil {
			return // no server would take it for a request
		}
		same := covered(t, before) == covered(t, after)
		after.Body.Close()
		// Read again: covered has consumed the body.
		if after, err = http.ReadRequest(bufio.NewReader(bytes.NewReader(changed))); err != nil {
			t.Fatal(err)
		}
		q := &request{in: e.now.Load(), arrival: viaA, time: time.Now()}
		q.verifier = sigv4.Verifier{}
		v := e.decide(q, after)
		if v == allowed && !same {
			t.Errorf("verified although changed:\n%s", changed)
		}
		if bytes.Equal(whole, changed) && v != allowed {
			t.Errorf("the request as it was signed: %s: %s", reasons[v], q.detail())
		}
	})
}

// covered is what a signature covers: method, path, parameters, signed headers
// and body.
func covered(t *testing.T, r *http.Request) string {
	t.Helper()
	var b bytes.Buffer
	// A body that is cut short is no body.
	if _, err := b.ReadFrom(r.Body); err != nil {
		b.WriteString("\x00broken")
	}
	parameters, _ := url.ParseQuery(r.URL.RawQuery)
	for _, name := range []string{"Content-Length", "X-Amz-Date", "X-Signed"} {
		b.WriteString("\n" + strings.Join(strings.Fields(strings.Join(r.Header[name], ",")), " "))
	}
	return strings.Join([]string{r.Method, r.URL.EscapedPath(), parameters.Encode(), r.Host, b.String()}, "\n")
}
