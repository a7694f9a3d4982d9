package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Metadata that is there for the audit only. It is written where a request
// comes in, and travels with it to the leader.
const (
	metaAccessKey = "x-postern-access-key"
	metaRole      = "x-postern-role"   // SPIFFE id of a role of the cluster
	metaSource    = "x-postern-source" // address of the client
	metaUserAgent = "x-postern-user-agent"
)

const (
	maxAuditChanges = 100 // listed in one event
	maxAuditText    = 256 // of what the client writes
	maxAuditPage    = 1000
	maxAuditWait    = 30 * time.Second
)

// auditOf is the event of a Txn that was decided on a View.
func auditOf(ctx context.Context, cfg Config, v *state.View, txn *statev1.Txn) *statev1.AuditEvent {
	c := caller(ctx)
	e := &statev1.AuditEvent{
		TimeUnixNano: cfg.Now().UnixNano(),
		Operation:    operationOf(ctx),
		Account:      c.Account,
		Region:       c.Region,
		Principal:    c.ARN,
		AccessKeyId:  shortened(incoming(ctx, metaAccessKey)),
		Source:       shortened(incoming(ctx, metaSource)),
		UserAgent:    shortened(incoming(ctx, metaUserAgent)),
		RequestId:    shortened(c.RequestID),
		Wipe:         txn.GetWipe(),
	}
	if role := incoming(ctx, metaRole); role != "" {
		// Edges, DNS servers and nodes act for no account.
		e.Principal, e.Account, e.Region = role, "", ""
	}
	changes := make([]*statev1.AuditChange, 0, len(txn.GetPuts())+len(txn.GetDeletes()))
	for _, r := range txn.GetPuts() {
		changes = append(changes, &statev1.AuditChange{Key: r.GetKey(), Before: valueHash(v.Get(state.KeyOf(r.GetKey()))), After: valueHash(r)})
	}
	for _, k := range txn.GetDeletes() {
		if r := v.Get(state.KeyOf(k)); r != nil {
			changes = append(changes, &statev1.AuditChange{Key: k, Before: valueHash(r)})
		}
	}
	if more := len(changes) - maxAuditChanges; more > 0 {
		e.More, changes = uint32(more), changes[:maxAuditChanges]
	}
	e.Changes = changes
	return e
}

// operationOf is the operation as policies name it: apigateway:UpdateRestApi.
// Nodes that write by themselves have none.
func operationOf(ctx context.Context) string {
	method, _ := grpc.Method(ctx)
	path, name, ok := strings.Cut(strings.TrimPrefix(method, "/postern."), "/")
	if !ok {
		return ""
	}
	service, _, _ := strings.Cut(path, ".")
	switch service {
	case "admin", "cluster", "sync":
		service = "postern" // as policies name what is Postern's own
	}
	return service + ":" + name
}

// valueHash is the SHA-256 of a record's value; nil for no record.
func valueHash(r *statev1.Record) []byte {
	if r == nil {
		return nil
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&statev1.Record{Value: r.GetValue()})
	if err != nil {
		return nil // what can't be written can't be committed either
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

func shortened(s string) string {
	if len(s) > maxAuditText {
		return s[:maxAuditText]
	}
	return s
}

// note adds an event for a change that is none of records: of the membership.
// That this fails says nothing of the change, which is done; it is logged.
func (a *admin) note(ctx context.Context) {
	txn := &statev1.Txn{}
	txn.Audit = auditOf(ctx, a.cfg.Config, a.cfg.Cluster.StaleView(), txn)
	if _, err := a.cfg.Cluster.Propose(context.WithoutCancel(ctx), txn); err != nil {
		a.cfg.Logger.Error("change of the membership is in no audit event", "operation", txn.Audit.GetOperation(), "principal", txn.Audit.GetPrincipal(), "error", err)
	}
}

var auditID = regexp.MustCompile(`^[0-9]{20}\.[0-9]{6}$`)

// ListAuditEvents lists writes in their order, behind a cursor.
func (a *admin) ListAuditEvents(ctx context.Context, req *adminv1.ListAuditEventsRequest) (*adminv1.ListAuditEventsResponse, error) {
	wait := time.Duration(req.GetWaitMs()) * time.Millisecond
	switch {
	case req.GetAfter() != "" && !auditID.MatchString(req.GetAfter()):
		return nil, apierr.BadRequest("Invalid after %.64q: want the id of an event", req.GetAfter())
	case req.GetLimit() > maxAuditPage:
		return nil, apierr.BadRequest("Invalid limit %d: at most %d", req.GetLimit(), maxAuditPage)
	case req.GetWaitMs() < 0 || req.GetWaitMs() > maxAuditWait.Milliseconds():
		return nil, apierr.BadRequest("Invalid wait %d ms: at most %v", req.GetWaitMs(), maxAuditWait)
	}
	v, err := view(ctx, a.cfg.Config)
	if err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		answer := auditPage(v, req)
		if len(answer.Events) > 0 || wait == 0 {
			return answer, nil
		}
		next, err := a.cfg.Cluster.WaitIndex(waiting, v.Index()+1)
		switch {
		case ctx.Err() != nil:
			return nil, status.FromContextError(ctx.Err()).Err()
		case waiting.Err() != nil:
			return answer, nil
		case err != nil:
			return nil, err
		}
		v = next
	}
}

func auditPage(v *state.View, req *adminv1.ListAuditEventsRequest) *adminv1.ListAuditEventsResponse {
	limit := int(req.GetLimit())
	if limit == 0 {
		limit = maxAuditPage
	}
	answer := &adminv1.ListAuditEventsResponse{}
	for r := range v.After(state.Key{Type: statev1.Type_TYPE_AUDIT_EVENT, ID: req.GetAfter()}) {
		if r.GetAuditEvent().GetTimeUnixNano() < req.GetSinceUnixNano() {
			continue
		}
		if len(answer.Events) == limit {
			answer.More = true
			break
		}
		answer.Events = append(answer.Events, auditAnswer(r))
	}
	return answer
}

func auditAnswer(r *statev1.Record) *adminv1.AuditEvent {
	e := r.GetAuditEvent()
	answer := &adminv1.AuditEvent{
		Id: r.GetKey().GetId(), Index: r.GetCreateIndex(), TimeUnixNano: e.GetTimeUnixNano(), Operation: e.GetOperation(),
		Account: e.GetAccount(), Region: e.GetRegion(), Principal: e.GetPrincipal(), AccessKeyId: e.GetAccessKeyId(),
		Source: e.GetSource(), UserAgent: e.GetUserAgent(), RequestId: e.GetRequestId(), MoreChanges: e.GetMore(), Wipe: e.GetWipe(),
	}
	for _, c := range e.GetChanges() {
		k := c.GetKey()
		answer.Changes = append(answer.Changes, &adminv1.AuditChange{
			Type: recordKind(k.GetType()), Account: k.GetAccount(), Region: k.GetRegion(), Id: k.GetId(),
			Before: hex.EncodeToString(c.GetBefore()), After: hex.EncodeToString(c.GetAfter()),
		})
	}
	return answer
}

// recordKind names a type of record as in rest-api.
func recordKind(t statev1.Type) string {
	name, ok := statev1.Type_name[int32(t)]
	if !ok {
		return fmt.Sprintf("type-%d", t)
	}
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "TYPE_")), "_", "-")
}
