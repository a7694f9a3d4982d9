package route_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/posternhq/postern/dataplane/route"
)

func TestHost(t *testing.T) {
	datadriven.RunTest(t, "testdata/host.txt", func(t *testing.T, d *datadriven.TestData) string {
		var out strings.Builder
		for line := range strings.Lines(d.Input) {
			line = strings.TrimSuffix(line, "\n")
			if d.Cmd == "stage" {
				stage, rest := route.SplitStage(line)
				fmt.Fprintf(&out, "%q %q\n", stage, rest)
				continue
			}
			name, header, _ := strings.Cut(line, " ")
			h := route.ParseHost(name)
			words := []string{[]string{"other", "api", "alias", "endpoint"}[h.Kind]}
			for _, field := range []string{h.API, h.Region, h.Endpoint} {
				if field != "" {
					words = append(words, field)
				}
			}
			words = append(words, "->")
			if api, region, ok := route.ResolveAPI(h, header); ok {
				words = append(words, api, region)
			} else {
				words = append(words, "none")
			}
			fmt.Fprintln(&out, strings.Join(words, " "))
		}
		return out.String()
	})
}

func TestRouter(t *testing.T) {
	var router *route.Router[string]
	datadriven.RunTest(t, "testdata/router.txt", func(t *testing.T, d *datadriven.TestData) string {
		if d.Cmd == "routes" {
			var err error
			if router, err = route.NewRouter(parseRoutes(d.Input)); err != nil {
				return err.Error() + "\n"
			}
			return "ok\n"
		}
		var out strings.Builder
		for line := range strings.Lines(d.Input) {
			verb, path, _ := strings.Cut(strings.TrimSpace(line), " ")
			var params route.Params
			value, ok := router.Match(path, verb, &params)
			if !ok {
				value = "none"
			}
			fmt.Fprintf(&out, "%s %s -> %s", verb, path, value)
			for i := range params.Len() {
				name, raw := params.At(i)
				fmt.Fprintf(&out, " %s=%s", name, raw)
				if v, ok := params.Value(name); !ok || v != raw {
					fmt.Fprintf(&out, " (%s)", v)
				}
			}
			fmt.Fprintln(&out)
		}
		return out.String()
	})
}

// parseRoutes reads lines of "VERB path", - for no verb. The value of each
// route is its line.
func parseRoutes(lines string) []route.Route[string] {
	var routes []route.Route[string]
	for line := range strings.Lines(lines) {
		line = strings.TrimSuffix(line, "\n")
		verb, path, _ := strings.Cut(line, " ")
		routes = append(routes, route.Route[string]{Path: path, Method: strings.TrimPrefix(verb, "-"), Value: line})
	}
	return routes
}

// naive is the router a second time: it compares the request with every
// resource and picks the best by the rules as they are written.
type naive struct {
	resources map[string]map[string]string // path -> verb -> value
	order     []string
}

func newNaive(routes []route.Route[string]) *naive {
	n := &naive{resources: map[string]map[string]string{}}
	add := func(path string) {
		if n.resources[path] == nil {
			n.resources[path] = map[string]string{}
			n.order = append(n.order, path)
		}
	}
	add("/")
	for _, r := range routes {
		for i := 1; i < len(r.Path); i++ {
			if r.Path[i] == '/' {
				add(r.Path[:i])
			}
		}
		add(r.Path)
		if r.Method != "" {
			n.resources[r.Path][r.Method] = r.Value
		}
	}
	return n
}

// rank says how well a resource fits: a digit for each segment, 0 literal,
// 1 parameter, 2 greedy; not ok if it does not fit.
func rank(resource, path string) (string, bool) {
	path = strings.TrimSuffix(path, "/")
	if resource == "/" {
		return "", path == ""
	}
	want, have := strings.Split(resource, "/")[1:], strings.Split(path, "/")
	if path == "" {
		return "", false
	}
	have = have[1:]
	out := ""
	for i, w := range want {
		switch {
		case strings.HasSuffix(w, "+}"):
			return out + "2", i < len(have) && strings.Join(have[i:], "/") != ""
		case i >= len(have):
			return "", false
		case strings.HasPrefix(w, "{"):
			if have[i] == "" {
				return "", false
			}
			out += "1"
		case w != have[i]:
			return "", false
		default:
			out += "0"
		}
	}
	return out, len(want) == len(have)
}

func (n *naive) verb(resource, verb string) (string, bool) {
	methods := n.resources[resource]
	if v, ok := methods[verb]; ok && verb != "ANY" {
		return v, true
	}
	v, ok := methods["ANY"]
	return v, ok && slices.Contains([]string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}, verb)
}

func (n *naive) match(path, verb string) (string, bool) {
	best, bestRank := "", "9"
	for _, resource := range n.order {
		if r, ok := rank(resource, path); ok && r < bestRank {
			best, bestRank = resource, r
		}
	}
	if best == "" {
		return "", false
	}
	if v, ok := n.verb(best, verb); ok {
		return v, true
	}
	// The greedy resources whose parent lies on the way to best, nearest first.
	for parent := best; parent != "/"; {
		parent = parent[:strings.LastIndexByte(parent, '/')]
		if parent == "" {
			parent = "/"
		}
		for _, resource := range n.order {
			up := resource[:strings.LastIndexByte(resource, '/')]
			if up == "" {
				up = "/"
			}
			if _, ok := rank(resource, path); ok && up == parent && strings.HasSuffix(resource, "+}") {
				if v, ok := n.verb(resource, verb); ok {
					return v, true
				}
			}
		}
	}
	return "", false
}

// FuzzRouter compares the router with the naive one on routes and requests
// made of few words, so that they meet often.
func FuzzRouter(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05"), "/a/b/c")
	f.Add([]byte("GET /a/{x}"), "//a/")
	f.Add([]byte{2, 9, 33, 47, 1, 200, 41, 7, 99, 5}, "/b//a")
	f.Fuzz(func(t *testing.T, recipe []byte, path string) {
		compareRouters(t, recipe, path)
	})
}

// TestRouterAgainstNaive runs the comparison over fixed pseudo-random recipes.
func TestRouterAgainstNaive(t *testing.T) {
	state := uint64(1)
	next := func() byte {
		state = state*6364136223846793005 + 1442695040888963407
		return byte(state >> 56)
	}
	segments := []string{"a", "b", "c", "", "a"}
	for range 20000 {
		recipe := make([]byte, 4+next()%28)
		for i := range recipe {
			recipe[i] = next()
		}
		var path string
		for range next() % 5 {
			path += "/" + segments[next()%5]
		}
		if !compareRouters(t, recipe, path) {
			return
		}
	}
}

func compareRouters(t *testing.T, recipe []byte, path string) bool {
	parts := []string{"/a", "/b", "/{x}", "/{z+}", "/a", "/{x}"}
	verbs := []string{"GET", "POST", "ANY", ""}
	var routes []route.Route[string]
	seen := map[string]bool{}
	for len(recipe) > 1 && len(routes) < 12 {
		length, verb := int(recipe[0]%5), verbs[recipe[0]>>6]
		recipe = recipe[1:]
		p := ""
		for ; length > 0 && len(recipe) > 0 && !strings.HasSuffix(p, "+}"); length-- {
			p += parts[int(recipe[0])%len(parts)]
			recipe = recipe[1:]
		}
		if p == "" {
			p = "/"
		}
		if line := verb + " " + p; !seen[line] {
			seen[line] = true
			routes = append(routes, route.Route[string]{Path: p, Method: verb, Value: line})
		}
	}
	router, err := route.NewRouter(routes)
	if err != nil {
		t.Fatalf("%v: %v", routes, err)
	}
	oracle := newNaive(routes)
	if path != "" && path[0] != '/' {
		path = "/" + path
	}
	for _, verb := range []string{"GET", "POST", "HEAD", "TRACE"} {
		var params route.Params
		got, ok := router.Match(path, verb, &params)
		want, wantOK := oracle.match(path, verb)
		if ok != wantOK || got != want {
			t.Errorf("%s %q in %v: %q %v, want %q %v", verb, path, routes, got, ok, want, wantOK)
			return false
		}
		if ok {
			if back := rebuild(got, &params); back != strings.TrimSuffix(path, "/") && got[strings.IndexByte(got, ' ')+1:] != "/" {
				t.Errorf("%s %q: parameters of %q rebuild %q", verb, path, got, back)
				return false
			}
		}
	}
	return true
}

// rebuild puts the parameters back into the path template.
func rebuild(value string, params *route.Params) string {
	_, path, _ := strings.Cut(value, " ")
	for i := range params.Len() {
		name, raw := params.At(i)
		path = strings.Replace(path, "{"+name+"}", raw, 1)
		path = strings.Replace(path, "{"+name+"+}", raw, 1)
	}
	return path
}

func FuzzParseHost(f *testing.F) {
	f.Add("abcde12345-vpce-01d622316a7df47f9.execute-api.us-west-2.amazonaws.com:443")
	f.Add("vpce-01d622316a7df47f9-abcd1234.execute-api.us-west-2.vpce.amazonaws.com")
	f.Fuzz(func(t *testing.T, host string) {
		h := route.ParseHost(host)
		if (h.Kind == route.HostAPI || h.Kind == route.HostAlias) != (h.API != "") {
			t.Errorf("%q: kind %d with API %q", host, h.Kind, h.API)
		}
		if (h.Kind == route.HostOther) != (h.Region == "") {
			t.Errorf("%q: kind %d with region %q", host, h.Kind, h.Region)
		}
		if again := route.ParseHost(strings.ToUpper(host)); again != h && isASCII(host) {
			t.Errorf("%q: case matters: %+v and %+v", host, h, again)
		}
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func TestUnescape(t *testing.T) {
	for raw, want := range map[string]string{
		"":        "",
		"a+b":     "a+b",
		"a%20b":   "a b",
		"%252F":   "%2F",
		"%e2%82":  "\xe2\x82",
		"100%":    "100%",
		"%4":      "%4",
		"%zz%41":  "%zzA",
		"%%41":    "%A",
		"a%2fb/c": "a/b/c",
	} {
		if got := route.Unescape(raw); got != want {
			t.Errorf("Unescape(%q) = %q, want %q", raw, got, want)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	router, err := route.NewRouter(parseRoutes("GET /\nGET /pets/{id}/toys/{toy}\nANY /files/{path+}"))
	if err != nil {
		t.Fatal(err)
	}
	var params route.Params
	if n := testing.AllocsPerRun(100, func() {
		h := route.ParseHost("abcde12345-vpce-01d622316a7df47f9.execute-api.us-west-2.amazonaws.com:8443")
		if _, _, ok := route.ResolveAPI(h, ""); !ok {
			t.Fatal("not resolved")
		}
		_, rest := route.SplitStage("/prod/pets/7/toys/ball")
		if _, ok := router.Match(rest, "GET", &params); !ok {
			t.Fatal("not routed")
		}
		if v, _ := params.Value("toy"); v != "ball" {
			t.Fatal("wrong parameter")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMatch(b *testing.B) {
	router, err := route.NewRouter(parseRoutes("GET /\nGET /pets\nGET /pets/{id}\nGET /pets/{id}/toys/{toy}\nANY /{proxy+}"))
	if err != nil {
		b.Fatal(err)
	}
	var params route.Params
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := router.Match("/pets/7/toys/ball", "GET", &params); !ok {
			b.Fatal("not routed")
		}
	}
}

func BenchmarkParseHost(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		route.ParseHost("abcde12345-vpce-01d622316a7df47f9.execute-api.us-west-2.amazonaws.com:8443")
	}
}
