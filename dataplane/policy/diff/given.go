package diff

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posternhq/postern/dataplane/policy"
)

// given is what is known of all requests that are compared.
type given struct {
	query     policy.Query
	under     string
	anonymous bool
	kind      int // of the caller, if he is given
	caller    string
	context   map[string][]string // by lower-cased key; an empty list is absence
	// languages of shapes and globs by name: problems of one comparison share
	// the automata that they explore.
	languages map[string]language
}

// language is the language of that name, made when it is first asked for.
func (g *given) language(name string, made func() language) language {
	if l, ok := g.languages[name]; ok {
		return l
	}
	l := made()
	g.languages[name] = l
	return l
}

func (g *given) shape(forms ...string) language {
	return g.language("shape "+strings.Join(forms, " "), func() language { return shape(forms...) })
}

// beginsARN says whether the ARN of something that an API serves may begin so.
func beginsARN(text string) bool {
	parts := strings.SplitN(text, ":", 4)
	for i, want := range []string{0: "arn", 2: "execute-api"} {
		if want == "" || i >= len(parts) {
			continue
		}
		// The last part that is given may be cut short.
		if whole := i < len(parts)-1; whole && parts[i] != want || !strings.HasPrefix(want, parts[i]) {
			return false
		}
	}
	return true
}

func newGiven(o *Options) (*given, error) {
	g := &given{under: o.Under, anonymous: o.Anonymous, context: map[string][]string{}, languages: map[string]language{}}
	if !beginsARN(o.Under) {
		return nil, fmt.Errorf("under %q: no ARN of an API begins so; write arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/", o.Under)
	}
	if o.Given == nil {
		return g, nil
	}
	g.query = *o.Given
	if g.query.Resource != "" && !(&policy.Request{}).SetResource(g.query.Resource) {
		return nil, fmt.Errorf("given resource %q: not an ARN", g.query.Resource)
	}
	for name, values := range g.query.Context {
		key := strings.ToLower(name)
		if key == "aws:referer" || key == "aws:useragent" {
			joined := strings.Join(values, ",")
			if values = nil; joined != "" {
				values = []string{joined}
			}
		}
		if _, twice := g.context[key]; twice {
			return nil, fmt.Errorf("given context: %s is there twice", key)
		}
		g.context[key] = values
	}
	if p := g.query.Principal; p != "" {
		kind, text, ok := encode(p)
		if !ok {
			return nil, fmt.Errorf("given principal %q: not a caller", p)
		}
		g.kind, g.caller = kind, text
	}
	// As Query.Request does: from one time both time keys follow.
	if now := g.context[currentTime]; len(now) == 1 {
		at, err := time.Parse(time.RFC3339, now[0])
		exact := err == nil && at.Nanosecond() == 0
		if exact {
			g.context[currentTime] = []string{isoText(at.Unix())}
		}
		if _, ok := g.context[epochTime]; !ok {
			g.context[epochTime] = nil
			if exact {
				g.context[epochTime] = []string{epochText(at.Unix())}
			}
		}
	}
	return g, nil
}

func (g *given) fixed(key string) ([]string, bool) {
	values, ok := g.context[key]
	return values, ok
}

// api is how all resources begin, up to the slash behind the API's id, if that
// is known.
func (g *given) api() (string, bool) {
	for _, s := range []string{g.query.Resource, g.under} {
		if parts := strings.SplitN(s, ":", 6); len(parts) == 6 {
			if id, _, ok := strings.Cut(parts[5], "/"); ok {
				return strings.Join(parts[:5], ":") + ":" + id + "/", true
			}
		}
	}
	return "", false
}

func everywhere() [numModes]bool { return [numModes]bool{true, true, true} }

func one(name string, s *space) *dimension {
	s.texts = true
	if s.in == ([numModes]bool{}) {
		s.in = everywhere()
	}
	return &dimension{name: name, spaces: []*space{s}, memo: map[string]*value{}}
}

func exact(text string) *base {
	return &base{languages: []language{newGlobs([][]item{exactly(text)})}, first: []string{text}}
}

// actions are written in lower case, since their case means nothing.
func (g *given) actions() *dimension {
	if a := g.query.Action; a != "" {
		return one("action", &space{stated: exact(strings.ToLower(a))})
	}
	invoke := strings.ToLower(policy.DefaultAction)
	return one("action", &space{edge: exact(invoke), stated: &base{languages: []language{g.shape("execute-api:{l+}")}, first: []string{invoke,
		"execute-api:invalidatecache", "execute-api:manageconnections"}}})
}

// exampleRest is what a witness calls if the policies don't care.
const exampleRest = "abcde12345/prod/GET/pets"

func (g *given) resources() *dimension {
	if r := g.query.Resource; r != "" {
		return one("resource", &space{stated: exact(r)})
	}
	var forms []string
	for _, partition := range []string{"aws", "aws-cn", "aws-us-gov"} {
		for _, verb := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"} {
			forms = append(forms, "arn:"+partition+":execute-api:{r+}:{d12}:{k10}/{s+}/"+verb+"/{p*}")
		}
	}
	s := &space{
		edge:   &base{languages: []language{g.shape(forms...)}, first: []string{"arn:aws:execute-api:us-east-1:" + exampleAccount + ":" + exampleRest}},
		stated: &base{languages: []language{g.shape("arn:{n+}:execute-api:{n*}:{n+}:{t*}")}},
	}
	if g.under != "" {
		prefix := newGlobs([][]item{append(exactly(g.under), item{kind: itemStar, class: anyClass, any: true})})
		for _, b := range []*base{s.edge, s.stated} {
			b.languages = append(b.languages, prefix)
		}
		parts := strings.SplitN(exampleRest, "/", 4)
		if i := strings.Count(g.under, "/"); i < len(parts) && strings.HasSuffix(g.under, "/") {
			s.edge.first = []string{g.under + strings.Join(parts[i:], "/")}
		}
	}
	s.stated.first = s.edge.first
	return one("resource", s)
}

func (g *given) callers(ids bool) *dimension {
	d := newCallers(ids, g.shape)
	switch {
	case g.query.Principal != "":
		for i, s := range d.spaces {
			s.in = [numModes]bool{}
			if i == 0 {
				continue
			}
			s.edge = nil
			switch name := callerKinds[i-1].name; {
			case i-1 == g.kind:
				s.in, s.stated = everywhere(), exact(g.caller)
			case ids && name == callerKinds[g.kind].name+" with id":
				s.in, s.stated = everywhere(), &base{languages: []language{newGlobs([][]item{g.withID()})}}
			}
		}
	case g.anonymous:
		for _, s := range d.spaces[1:] {
			s.in = [numModes]bool{}
		}
	}
	return d
}

// withID is the given caller with any unique id, which is the fourth piece.
func (g *given) withID() []item {
	pieces := strings.Split(g.caller, string(separator))
	id := []item{{kind: itemOne, class: classes['t']}, {kind: itemStar, class: classes['t']}}
	at := len(pieces)
	if callerKinds[g.kind].name == "session" {
		at = 3
	}
	var out []item
	for i, piece := range slices.Insert(pieces, at, "") {
		if i > 0 {
			out = append(out, item{kind: itemRune, r: separator})
		}
		if i == at {
			out = append(out, id...)
		} else {
			out = append(out, exactly(piece)...)
		}
	}
	return out
}
