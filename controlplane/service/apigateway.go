package service

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// apiGateway serves Amazon API Gateway's REST APIs.
type apiGateway struct {
	apigatewayv1.UnimplementedApiGatewayServer
	cfg Config
}

// NewAPIGateway returns the API Gateway service.
func NewAPIGateway(cfg Config) apigatewayv1.ApiGatewayServer {
	return &apiGateway{cfg: cfg.withDefaults()}
}

// Lengths of ids as AWS makes them.
const (
	apiIDLength  = 10
	rootIDLength = 10
	idLength     = 6
)

// metaIdempotency names a create: repeated with the same name it answers what
// it answered first, and does nothing (AWS's REST API has no such member).
const metaIdempotency = "idempotency_key"

// create commits a create and returns what build made last.
func create[T any, M interface {
	*T
	proto.Message
}](ctx context.Context, cfg Config, operation string, req proto.Message, build func(v *state.View) (*statev1.Txn, M, error)) (M, error) {
	token := createToken(caller(ctx), operation, incoming(ctx, metaIdempotency), req)
	var made M
	_, err := update(ctx, cfg, func(v *state.View) (txn *statev1.Txn, err error) {
		first := M(new(T))
		if known, err := token.answered(cfg, v, first); known || err != nil {
			made = first
			return nil, err
		}
		if txn, made, err = build(v); err != nil {
			return nil, err
		}
		token.remember(cfg, v, txn, made)
		return txn, nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// apiChildren are the types of records that belong to an API.
var apiChildren = []statev1.Type{
	statev1.Type_TYPE_RESOURCE, statev1.Type_TYPE_DEPLOYMENT, statev1.Type_TYPE_STAGE,
	statev1.Type_TYPE_MODEL, statev1.Type_TYPE_REQUEST_VALIDATOR,
}

// restAPI is an API as one View holds it.
type restAPI struct {
	*apigatewayv1.RestApi
	record *statev1.Record
	view   *state.View
	who    Caller
}

// findAPI finds one of the caller's APIs.
func findAPI(v *state.View, who Caller, id string) (*restAPI, error) {
	r := v.Get(who.key(statev1.Type_TYPE_REST_API, id))
	if r == nil {
		return nil, apierr.NotFound("Invalid API identifier specified %s:%s", who.Account, id)
	}
	return &restAPI{RestApi: r.GetRestApi(), record: r, view: v, who: who}, nil
}

// findAPIElse is findAPI for operations that name something inside the API and
// answer an unknown API with that thing's error.
func findAPIElse(v *state.View, who Caller, id string, unknown error) (*restAPI, error) {
	a, err := findAPI(v, who, id)
	if err != nil {
		return nil, unknown
	}
	return a, nil
}

// readAPI is findAPI for reads.
func (s *apiGateway) readAPI(ctx context.Context, id string) (*restAPI, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	return findAPI(v, caller(ctx), id)
}

// readAPIElse is findAPIElse for reads.
func (s *apiGateway) readAPIElse(ctx context.Context, id string, unknown error) (*restAPI, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	return findAPIElse(v, caller(ctx), id, unknown)
}

// child returns a record that belongs to the API, nil if there is none.
func (a *restAPI) child(t statev1.Type, id string) *statev1.Record {
	return a.view.Get(childKey(a.who, t, a.GetId(), id))
}

// children returns all records of a type that belong to the API, by id.
func (a *restAPI) children(t statev1.Type) []*statev1.Record {
	return slices.Collect(a.view.List(t, a.who.Account, a.who.Region, a.GetId()+"/"))
}

// unusedID returns an id that no record of the type has inside the API.
func (s *apiGateway) unusedID(a *restAPI, t statev1.Type) string {
	for {
		if id := s.cfg.alphanumeric(idLength); a.child(t, id) == nil {
			return id
		}
	}
}

// unusedAPIID returns an id that no API of the region has, whatever its account.
func (s *apiGateway) unusedAPIID(v *state.View, region string) string {
	for {
		if id := s.cfg.alphanumeric(apiIDLength); v.Find(statev1.Type_TYPE_REST_API, region, id) == nil {
			return id
		}
	}
}

// change returns the Txn of a write inside the API. It guards the API's record
// and puts it again, so that writers inside one API can't decide on one View.
func (a *restAPI) change(puts ...*statev1.Record) *statev1.Txn {
	again := restAPIRecord(state.KeyOf(a.record.Key), a.RestApi)
	return &statev1.Txn{
		Guards: []*statev1.Guard{guard(a.record)},
		Puts:   append([]*statev1.Record{again}, puts...),
	}
}

// remove is change for a write that deletes records.
func (a *restAPI) remove(records ...*statev1.Record) *statev1.Txn {
	txn := a.change()
	for _, r := range records {
		txn.Deletes = append(txn.Deletes, r.Key)
	}
	return txn
}

func childKey(who Caller, t statev1.Type, apiID, id string) state.Key {
	return who.key(t, apiID+"/"+id)
}

func restAPIRecord(k state.Key, a *apigatewayv1.RestApi) *statev1.Record {
	return &statev1.Record{Key: k.Proto(), Value: &statev1.Record_RestApi{RestApi: a}}
}

func resourceRecord(who Caller, apiID string, r *apigatewayv1.Resource) *statev1.Record {
	k := childKey(who, statev1.Type_TYPE_RESOURCE, apiID, r.GetId())
	return &statev1.Record{Key: k.Proto(), Value: &statev1.Record_Resource{Resource: r}}
}

func modelRecord(who Caller, apiID string, m *apigatewayv1.Model) *statev1.Record {
	k := childKey(who, statev1.Type_TYPE_MODEL, apiID, m.GetName())
	return &statev1.Record{Key: k.Proto(), Value: &statev1.Record_Model{Model: m}}
}

func validatorRecord(who Caller, apiID string, rv *apigatewayv1.RequestValidator) *statev1.Record {
	k := childKey(who, statev1.Type_TYPE_REQUEST_VALIDATOR, apiID, rv.GetId())
	return &statev1.Record{Key: k.Proto(), Value: &statev1.Record_RequestValidator{RequestValidator: rv}}
}

func deploymentRecord(who Caller, apiID string, d *statev1.Deployment) *statev1.Record {
	k := childKey(who, statev1.Type_TYPE_DEPLOYMENT, apiID, d.GetDeployment().GetId())
	return &statev1.Record{Key: k.Proto(), Value: &statev1.Record_Deployment{Deployment: d}}
}

func stageRecord(who Caller, apiID string, st *apigatewayv1.Stage) *statev1.Record {
	k := childKey(who, statev1.Type_TYPE_STAGE, apiID, st.GetStageName())
	return &statev1.Record{Key: k.Proto(), Value: &statev1.Record_Stage{Stage: st}}
}

// Page sizes of lists.
const (
	defaultLimit = 25
	maxLimit     = 500
)

// byCreation orders records by the entry that made them.
func byCreation(r *statev1.Record) string {
	return fmt.Sprintf("%020d/%s", r.GetCreateIndex(), r.GetKey().GetId())
}

// listPage returns one page of a list and the position of the next, nil after the
// last page. order gives each element a text of its own to sort by, so a
// position stays good while others are added and removed.
func listPage[T any](list []T, order func(T) string, limit *int32, position *string) (page []T, next *string, err error) {
	size := defaultLimit
	if limit != nil && *limit > 0 {
		size = min(int(*limit), maxLimit)
	}
	type keyed struct {
		key  string
		item T
	}
	sorted := make([]keyed, len(list))
	for i, item := range list {
		sorted[i] = keyed{order(item), item}
	}
	slices.SortFunc(sorted, func(a, b keyed) int { return strings.Compare(a.key, b.key) })
	if position != nil && *position != "" {
		after, err := base64.RawURLEncoding.DecodeString(*position)
		if err != nil {
			return nil, nil, apierr.BadRequest("Invalid position parameter specified")
		}
		at, found := slices.BinarySearchFunc(sorted, string(after), func(k keyed, key string) int { return strings.Compare(k.key, key) })
		if found {
			at++
		}
		sorted = sorted[at:]
	}
	if len(sorted) > size {
		sorted = sorted[:size]
		next = new(base64.RawURLEncoding.EncodeToString([]byte(sorted[size-1].key)))
	}
	for _, k := range sorted {
		page = append(page, k.item)
	}
	return page, next, nil
}

// clone puts copies of everything that an API consists of, and that is
// deployed, into another one. Ids are unique inside an API only by chance, so
// the copies get their own.
func (s *apiGateway) clone(from *restAPI, to *apigatewayv1.RestApi, who Caller, txn *statev1.Txn) {
	if len(to.BinaryMediaTypes) == 0 {
		to.BinaryMediaTypes = slices.Clone(from.BinaryMediaTypes)
	}
	if to.MinimumCompressionSize == nil {
		to.MinimumCompressionSize = from.MinimumCompressionSize
	}
	id := to.GetId()
	for _, r := range from.children(statev1.Type_TYPE_MODEL) {
		m := proto.CloneOf(r.GetModel())
		m.Id = new(s.cfg.alphanumeric(idLength))
		txn.Puts = append(txn.Puts, modelRecord(who, id, m))
	}
	validators := make(map[string]string)
	for _, r := range from.children(statev1.Type_TYPE_REQUEST_VALIDATOR) {
		rv := proto.CloneOf(r.GetRequestValidator())
		validators[rv.GetId()] = s.freshID(validators)
		rv.Id = new(validators[rv.GetId()])
		txn.Puts = append(txn.Puts, validatorRecord(who, id, rv))
	}
	resources := from.children(statev1.Type_TYPE_RESOURCE)
	ids := map[string]string{from.GetRootResourceId(): s.cfg.alphanumeric(rootIDLength)}
	for _, r := range resources {
		if old := r.GetResource().GetId(); ids[old] == "" {
			ids[old] = s.freshID(ids)
		}
	}
	to.RootResourceId = new(ids[from.GetRootResourceId()])
	for _, r := range resources {
		res := proto.CloneOf(r.GetResource())
		old := res.GetId()
		res.Id = new(ids[old])
		if res.ParentId != nil {
			res.ParentId = new(ids[res.GetParentId()])
		}
		for _, m := range res.ResourceMethods {
			if m.RequestValidatorId != nil {
				m.RequestValidatorId = new(validators[m.GetRequestValidatorId()])
			}
			if in := m.MethodIntegration; in != nil && in.GetCacheNamespace() == old {
				in.CacheNamespace = new(ids[old])
			}
		}
		txn.Puts = append(txn.Puts, resourceRecord(who, id, res))
	}
}

// freshID returns an id that is not among the values yet.
func (s *apiGateway) freshID(taken map[string]string) string {
	for {
		id := s.cfg.alphanumeric(idLength)
		used := false
		for _, t := range taken {
			used = used || t == id
		}
		if !used {
			return id
		}
	}
}
