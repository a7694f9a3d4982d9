package edge

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/posternhq/postern/dataplane/integration"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
)

// authorization is how a method wants its callers to be known.
type authorization uint8

const (
	authNone authorization = iota
	authIAM
	authCustom
	authCognito
	authUnknown
)

// prepared is what the edge works out about a method when a table is built.
type prepared struct {
	auth    authorization
	needKey bool
	backend *integration.Backend
	limiter *rate.Limiter // nil: not throttled
	// required are the parameters that a validator demands, by full key.
	required []parameter
	// checkBody: a validator wants the body checked against a model.
	checkBody bool

	told atomic.Int64 // when it was last said what is wrong, Unix nanoseconds
}

// tellTime is how often it is said, at most, what is wrong with a method.
const tellTime = time.Minute

// tell reports whether it is time to say what is wrong.
func (p *prepared) tell(now time.Time) bool {
	last := p.told.Load()
	return now.UnixNano()-last >= int64(tellTime) && p.told.CompareAndSwap(last, now.UnixNano())
}

type parameter struct {
	key, name string
	in        string // header, querystring, path
}

// Prepare is the Integration hook of package compile.
func (e *Edge) Prepare(stage *edgev1.Stage, rt *edgev1.Route) (any, error) {
	m := rt.GetMethod()
	p := &prepared{
		needKey: m.GetApiKeyRequired(),
		backend: e.cfg.Backends.Prepare(stage, rt),
		limiter: limiterOf(stage, rt),
	}
	switch m.GetAuthorizationType() {
	case "", "NONE":
		p.auth = authNone
	case "AWS_IAM":
		p.auth = authIAM
	case "CUSTOM":
		p.auth = authCustom
	case "COGNITO_USER_POOLS":
		p.auth = authCognito
	default:
		p.auth = authUnknown
	}
	p.required, p.checkBody = validation(stage, m)
	if e.cfg.Keeper != nil {
		e.cfg.Keeper.Cover(stage.GetRegion())
	}
	return p, nil
}

// limiterOf is the throttle of a method: its own settings, else the stage's.
func limiterOf(stage *edgev1.Stage, rt *edgev1.Route) *rate.Limiter {
	var limit, burst float64 = -1, -1
	own := strings.TrimPrefix(rt.GetPath(), "/") + "/" + rt.GetHttpMethod()
	for _, key := range []string{"*/*", own} {
		for k, s := range stage.GetMethodSettings() {
			if methodKey(k) != key {
				continue
			}
			if s.ThrottlingRateLimit != nil {
				limit = *s.ThrottlingRateLimit
			}
			if s.ThrottlingBurstLimit != nil {
				burst = float64(*s.ThrottlingBurstLimit)
			}
		}
	}
	if limit < 0 || burst < 0 {
		return nil // -1: only the account's limit holds
	}
	return rate.NewLimiter(rate.Limit(limit), int(burst))
}

// methodKey is a key of method settings with its slashes as in a path:
// ~1pets~1{id}/GET and pets/{id}/GET are one.
func methodKey(k string) string {
	return strings.TrimPrefix(strings.NewReplacer("~1", "/", "~0", "~").Replace(k), "/")
}

// validation reads what a method's validator demands.
func validation(stage *edgev1.Stage, m *apigatewayv1.Method) (required []parameter, body bool) {
	id := m.GetRequestValidatorId()
	if id == "" {
		return nil, false
	}
	for _, v := range stage.GetRequestValidators() {
		if v.GetId() != id {
			continue
		}
		body = v.GetValidateRequestBody() && len(m.GetRequestModels().GetEntries()) > 0
		if !v.GetValidateRequestParameters() {
			return nil, body
		}
		for key, needed := range m.GetRequestParameters().GetEntries() {
			rest, ok := strings.CutPrefix(key, "method.request.")
			in, name, found := strings.Cut(rest, ".")
			if needed && ok && found {
				required = append(required, parameter{key: key, name: name, in: in})
			}
		}
		slices.SortFunc(required, func(a, b parameter) int { return strings.Compare(a.key, b.key) })
	}
	return required, body
}

// missing lists the required parameters that a request lacks, nil for none.
func (p *prepared) missing(q *request, r *http.Request) (list []string) {
	for i := range p.required {
		if want := &p.required[i]; !present(want, q, r) {
			list = append(list, want.name)
		}
	}
	return list
}

func present(p *parameter, q *request, r *http.Request) bool {
	switch p.in {
	case "header":
		if strings.EqualFold(p.name, "host") {
			return r.Host != ""
		}
		return len(r.Header.Values(p.name)) > 0
	case "querystring":
		return integration.HasQuery(r.URL.RawQuery, p.name)
	case "path":
		_, ok := q.params.Raw(p.name)
		return ok
	}
	return false
}
