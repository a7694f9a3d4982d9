package sigv4

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// vector is a case of the signing test suite of AWS's SDKs (awslabs/aws-c-auth,
// Apache-2.0).
type vector struct {
	Name    string
	Context struct {
		Credentials struct {
			KeyID  string `json:"access_key_id"`
			Secret string `json:"secret_access_key"`
		}
		Region, Service string
		Timestamp       time.Time
	}
	Header, Query struct {
		Signed string `json:"signed_request"`
	}
}

func vectors(t testing.TB) []vector {
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 19 {
		t.Fatalf("only %d vectors", len(all))
	}
	return all
}

func (v vector) key() *Key {
	k := DeriveKey(v.Context.Credentials.Secret, v.Context.Timestamp.Format("20060102"), v.Context.Region, v.Context.Service)
	return &k
}

// read is the request of a text, whose lines and paths are not those of a wire.
func read(text string) (*http.Request, Payload, bool) {
	head, body, _ := strings.Cut(text, "\n\n")
	line, fields, _ := strings.Cut(head, "\n")
	method, rest, _ := strings.Cut(line, " ")
	uri, ok := strings.CutSuffix(rest, " HTTP/1.1")
	if !ok {
		return nil, Payload{}, false
	}
	path, query, _ := strings.Cut(uri, "?")
	r := &http.Request{Method: method, RequestURI: uri, URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{}, ContentLength: int64(len(body))}
	for field := range strings.Lines(fields) {
		name, value, ok := strings.Cut(strings.TrimSuffix(field, "\n"), ":")
		if !ok {
			return nil, Payload{}, false
		}
		if strings.EqualFold(name, "Host") {
			r.Host = value
		} else {
			r.Header.Add(name, value)
		}
	}
	return r, sha256.Sum256([]byte(body)), true
}

// accepts is what a gateway does.
func accepts(v *Verifier, c vector, text string) error {
	r, body, ok := read(text)
	if !ok {
		return incomplete("not a request")
	}
	claim, err := v.Parse(r)
	if err != nil {
		return err
	}
	if string(claim.KeyID) != c.Context.Credentials.KeyID {
		return incomplete("unknown key")
	}
	if err := claim.CheckTime(c.Context.Timestamp); err != nil {
		return err
	}
	if err := claim.CheckScope(c.Context.Region, c.Context.Service); err != nil {
		return err
	}
	return v.Verify(r, c.key(), body)
}

func TestVectors(t *testing.T) {
	v := new(Verifier)
	for _, c := range vectors(t) {
		for form, text := range map[string]string{"header": c.Header.Signed, "query": c.Query.Signed} {
			if err := accepts(v, c, text); err != nil {
				t.Errorf("%s, %s: %v", c.Name, form, err)
			}
		}
	}
}

// covered reports whether a text says the same as another to whoever reads a
// signature: header names in any case, spaces around values, an escape that may
// as well be the character, a path with its dots and empty segments left out.
func covered(a, b string) bool {
	return slices.Equal(essence(a), essence(b))
}

// essence is what a signature covers of a request, put together by other means
// than the Verifier's.
func essence(text string) []string {
	r, body, ok := read(text)
	if !ok {
		return nil
	}
	claim, err := new(Verifier).Parse(r)
	if err != nil {
		return nil
	}
	sent, _, _ := strings.Cut(r.RequestURI, "?")
	plain := path.Clean("/" + sent)
	about := []string{r.Method, plain, fmt.Sprint(plain != "/" && strings.HasSuffix(sent, "/")), hex.EncodeToString(body[:])}
	var params []string
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, value, _ := strings.Cut(part, "=")
		if part != "" {
			params = append(params, decoded(name)+"="+decoded(value))
		}
	}
	slices.Sort(params)
	about = append(about, params...)
	for name := range strings.SplitSeq(string(claim.signed), ";") {
		values := strings.Join(r.Header[http.CanonicalHeaderKey(name)], ",")
		if name == "host" {
			values = r.Host
		}
		about = append(about, name+": "+strings.Join(strings.FieldsFunc(values, func(c rune) bool { return c == ' ' || c == '\t' }), " "))
	}
	return append(about, claim.Time.String(), hex.EncodeToString(claim.signature[:]),
		fmt.Sprintf("%s %s %s %s", claim.KeyID, claim.Date, claim.Region, claim.Service))
}

// decoded is a text without those escapes that are ones.
func decoded(s string) string {
	return escapes.ReplaceAllStringFunc(s, func(e string) string {
		b, _ := hex.DecodeString(e[1:])
		return string(b)
	})
}

var escapes = regexp.MustCompile("%[0-9a-fA-F]{2}")

func TestEachByteCounts(t *testing.T) {
	v := new(Verifier)
	tried := 0
	for _, c := range vectors(t) {
		for _, text := range []string{c.Header.Signed, c.Query.Signed} {
			for i := range len(text) {
				for _, change := range []byte{1, 0x20, 0x80} {
					mutant := []byte(text)
					mutant[i] ^= change
					if accepts(v, c, string(mutant)) == nil && !covered(text, string(mutant)) {
						t.Errorf("%s: byte %d may be %q in %q", c.Name, i, mutant[i], mutant)
					}
					tried++
				}
			}
		}
	}
	t.Logf("%d mutants", tried)
}

func FuzzVerify(f *testing.F) {
	all := vectors(f)
	for i, c := range all {
		f.Add(uint8(i), c.Header.Signed)
		f.Add(uint8(i), c.Query.Signed)
	}
	v := new(Verifier)
	f.Fuzz(func(t *testing.T, n uint8, text string) {
		c := all[int(n)%len(all)]
		if accepts(v, c, text) != nil {
			return
		}
		for _, other := range all {
			for _, original := range []string{other.Header.Signed, other.Query.Signed} {
				if covered(original, text) {
					return
				}
			}
		}
		t.Errorf("a request that nobody signed is taken: %q", text)
	})
}

// received is a request that the SDK for Go signed, as a server receives it.
func received(t testing.TB, method, target, body string, presign bool, change func(*http.Request)) (*http.Request, Payload) {
	t.Helper()
	hash := sha256.Sum256([]byte(body))
	var got *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.Background())
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer srv.Close()
	r, err := http.NewRequest(method, srv.URL+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	creds := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", SessionToken: "token+/="}
	said := hex.EncodeToString(hash[:])
	if h := r.Header.Get("X-Amz-Content-Sha256"); h != "" {
		said = h
	}
	if presign {
		q := r.URL.Query()
		q.Set("X-Amz-Expires", "60")
		r.URL.RawQuery = q.Encode()
		uri, header, err := v4.NewSigner().PresignHTTP(context.Background(), creds, r, said, "execute-api", "us-west-2", instant)
		if err != nil {
			t.Fatal(err)
		}
		if r.URL, err = url.Parse(uri); err != nil {
			t.Fatal(err)
		}
		for name, values := range header {
			if name != "Host" {
				r.Header[name] = values
			}
		}
	} else if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, said, "execute-api", "us-west-2", instant); err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return got, hash
}

var instant = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestSignerOfTheSDK(t *testing.T) {
	key := DeriveKey("secret", "20260102", "us-west-2", "execute-api")
	v := new(Verifier)
	for _, c := range []struct {
		method, target, body string
		change               func(*http.Request)
	}{
		{"GET", "/test/pets", "", nil},
		{"GET", "/test/pets/a%20b/%C3%A4?x=%20&x=1&A=&b", "", nil},
		{"POST", "/test//pets/./x/", "a body", nil},
		{"PUT", "/", "a body", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", Unsigned) }},
		{"GET", "/t", "", func(r *http.Request) {
			r.Header["X-Twice"] = []string{" a   b ", "c"}
			r.Host = "abc.execute-api.us-west-2.amazonaws.com"
		}},
		{"DELETE", "/t?q=a%2Bb", "", func(r *http.Request) { r.Header.Set("X-Apigw-Api-Id", "abc") }},
	} {
		for _, presign := range []bool{false, true} {
			r, body := received(t, c.method, c.target, c.body, presign, c.change)
			claim, err := v.Parse(r)
			if err != nil {
				t.Errorf("%s %s (presigned: %v): %v", c.method, c.target, presign, err)
				continue
			}
			if string(claim.Token) != "token+/=" || string(claim.KeyID) != "AKIDEXAMPLE" || !claim.Time.Equal(instant) {
				t.Errorf("claim is %+v", claim)
			}
			if err := v.Verify(r, &key, body); err != nil {
				t.Errorf("%s %s (presigned: %v): %v\n%s", c.method, c.target, presign, err, v.buf)
			}
			other := key
			other[0]++
			if v.Verify(r, &other, body) == nil {
				t.Errorf("%s %s: any key will do", c.method, c.target)
			}
			if body[0]++; NeedsBody(r) && v.Verify(r, &key, body) == nil {
				t.Errorf("%s %s: any body will do", c.method, c.target)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	const scope = "/20260102/us-west-2/execute-api/aws4_request"
	const good = "AWS4-HMAC-SHA256 Credential=K" + scope + ", SignedHeaders=host, Signature="
	signature := strings.Repeat("0", 64)
	for _, c := range []struct {
		name, authorization, date string
		code                      Code
		message                   string
	}{
		{"bearer", "Bearer abc", "", IncompleteSignature, "'abc' not a valid key=value pair (missing equal-sign) in Authorization header: 'Bearer abc'."},
		{"other algorithm", "AWS4-HMAC-SHA1 Credential=K", "", IncompleteSignature, "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1'."},
		{"nothing", "AWS4-HMAC-SHA256 ", "", IncompleteSignature,
			"Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. " +
				"Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256 "},
		{"no pair", "AWS4-HMAC-SHA256 Credential", "", IncompleteSignature, "'Credential' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 Credential'."},
		{"short scope", "AWS4-HMAC-SHA256 Credential=K/20260102/aws4_request, SignedHeaders=host, Signature=" + signature, "20260102T030405Z", IncompleteSignature,
			"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'K/20260102/aws4_request'"},
		{"no terminator", "AWS4-HMAC-SHA256 Credential=K/20260102/us-west-2/execute-api/aws3, SignedHeaders=host, Signature=" + signature, "20260102T030405Z", InvalidSignature,
			"Credential should be scoped with a valid terminator: 'aws4_request', not 'aws3'."},
		{"no date", good + signature, "", IncompleteSignature, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=" + good + signature},
		{"bad date", good + signature, "today", IncompleteSignature, "Date must be in ISO-8601 'basic format'. Got 'today'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{"another day", good + signature, "20260103T030405Z", InvalidSignature,
			"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260102' != '20260103', from '20260103T030405Z'."},
		{"no hex", good + strings.Repeat("g", 64), "20260102T030405Z", InvalidSignature, mismatch().Message},
		{"upper hex", good + strings.Repeat("A", 64), "20260102T030405Z", InvalidSignature, mismatch().Message},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", c.authorization)
		if c.date != "" {
			r.Header.Set("X-Amz-Date", c.date)
		}
		_, err := new(Verifier).Parse(r)
		e, ok := err.(*Error)
		if !ok || e.Code != c.code || e.Message != c.message {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := new(Verifier).Parse(httptest.NewRequest("GET", "/", nil)); err == nil || err.(*Error).Code != MissingAuthenticationToken {
		t.Errorf("unsigned: %v", err)
	}
}

func TestCheckTime(t *testing.T) {
	c := &Claim{Time: instant}
	p := &Claim{Time: instant, Presigned: true, Expires: time.Minute}
	for _, s := range []struct {
		claim *Claim
		now   time.Duration
		want  string
	}{
		{c, 0, ""},
		{c, MaxSkew, ""},
		{c, MaxSkew + time.Second, "Signature expired: 20260102T030405Z is now earlier than 20260102T030406Z (20260102T030906Z - 5 min.)"},
		{c, -MaxSkew, ""},
		{c, -MaxSkew - time.Second, "Signature not yet current: 20260102T030405Z is still later than 20260102T030404Z (20260102T025904Z + 5 min.)"},
		{p, time.Minute, ""},
		{p, time.Minute + time.Second, "Signature expired: 20260102T030405Z is now earlier than 20260102T030406Z (20260102T030506Z - 1 min.)"},
	} {
		got := ""
		if err := s.claim.CheckTime(instant.Add(s.now)); err != nil {
			got = err.Error()
		}
		if got != s.want {
			t.Errorf("after %v: %q, want %q", s.now, got, s.want)
		}
	}
}

func TestVerifyAllocatesNothing(t *testing.T) {
	key := DeriveKey("secret", "20260102", "us-west-2", "execute-api")
	for _, presign := range []bool{false, true} {
		r, body := received(t, "GET", "/test/pets?b=1&a=%20", "", presign, nil)
		v := new(Verifier)
		if n := testing.AllocsPerRun(100, func() {
			c, err := v.Parse(r)
			if err == nil {
				err = c.CheckTime(instant)
			}
			if err == nil {
				err = v.Verify(r, &key, body)
			}
			if err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("presigned: %v: %v allocations", presign, n)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	key := DeriveKey("secret", "20260102", "us-west-2", "execute-api")
	r, body := received(b, "GET", "/test/pets?b=1&a=%20", "", false, nil)
	v := new(Verifier)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Parse(r); err != nil {
			b.Fatal(err)
		}
		if err := v.Verify(r, &key, body); err != nil {
			b.Fatal(err)
		}
	}
}
