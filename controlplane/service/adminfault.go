package service

import (
	"context"
	"strings"
	"time"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/propagation"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// maxDNSFaults bounds what each answer of an authority is held against.
const maxDNSFaults = 64

// maxFaultDuration is that of everything else on the DNS clock.
const maxFaultDuration = maxAdvance

// SetDnsFault puts a fault into force. There is one of each kind and target, so
// setting it again changes its lag and its end.
func (a *admin) SetDnsFault(ctx context.Context, req *adminv1.SetDnsFaultRequest) (*adminv1.SetDnsFaultResponse, error) {
	if ms := req.GetLagMs(); ms < 0 || ms > maxFaultDuration.Milliseconds() {
		return nil, apierr.BadRequest("Invalid lag %d ms", ms)
	}
	if ms := req.GetDurationMs(); ms < 0 || ms > maxFaultDuration.Milliseconds() {
		return nil, apierr.BadRequest("Invalid duration %d ms: at most ten years", ms)
	}
	f := &statev1.DnsFault{
		Kind: req.GetKind(), Name: canonical(req.GetName()), Zone: canonical(req.GetZone()), Place: req.GetPlace(),
		Lag: int64(time.Duration(req.GetLagMs()) * time.Millisecond),
	}
	if err := propagation.CheckFault(f); err != nil {
		return nil, apierr.BadRequest("Invalid fault: %v", err)
	}
	f.Id = propagation.FaultID(f)
	index, err := update(ctx, a.cfg.Config, func(v *state.View) (*statev1.Txn, error) {
		now := dnsNow(a.cfg.Config, v)
		f.SetAt, f.EndsAt = now.UnixNano(), 0
		if req.GetDurationMs() > 0 {
			f.EndsAt = now.Add(time.Duration(req.GetDurationMs()) * time.Millisecond).UnixNano()
		}
		key := faultKey(f.GetId())
		txn := &statev1.Txn{Puts: []*statev1.Record{{Key: key.Proto(), Value: &statev1.Record_DnsFault{DnsFault: f}}}}
		if old := v.Get(key); old != nil {
			txn.Guards = append(txn.Guards, guard(old))
		} else {
			txn.Guards = append(txn.Guards, absent(key))
		}
		inForce := 0
		for r := range v.All(statev1.Type_TYPE_DNS_FAULT) {
			switch {
			case r.GetDnsFault().GetId() == f.GetId():
			case propagation.InForce(r.GetDnsFault(), now.UnixNano()):
				inForce++
			default:
				forget(txn, r)
			}
		}
		if inForce >= maxDNSFaults {
			return nil, apierr.Limit("%d faults are in force, as many as there can be", inForce)
		}
		return txn, nil
	})
	if err != nil {
		return nil, err
	}
	return &adminv1.SetDnsFaultResponse{Fault: faultAnswer(f), Index: index}, nil
}

// ListDnsFaults lists the faults in force.
func (a *admin) ListDnsFaults(ctx context.Context, _ *adminv1.ListDnsFaultsRequest) (*adminv1.ListDnsFaultsResponse, error) {
	v, err := view(ctx, a.cfg.Config)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListDnsFaultsResponse{Faults: faultsInForce(v, dnsNow(a.cfg.Config, v))}, nil
}

// ClearDnsFaults ends faults. One that is not in force is an error, so that a
// slip of the pen does not pass for success; then nothing is cleared.
func (a *admin) ClearDnsFaults(ctx context.Context, req *adminv1.ClearDnsFaultsRequest) (*adminv1.ClearDnsFaultsResponse, error) {
	if req.GetAll() == (len(req.GetIds()) > 0) {
		return nil, apierr.BadRequest("either the ids of faults or all of them must be given")
	}
	answer := &adminv1.ClearDnsFaultsResponse{}
	index, err := update(ctx, a.cfg.Config, func(v *state.View) (*statev1.Txn, error) {
		now := dnsNow(a.cfg.Config, v).UnixNano()
		answer.Cleared = nil
		wanted := map[string]bool{}
		for _, id := range req.GetIds() {
			wanted[id] = true
		}
		txn := &statev1.Txn{}
		for r := range v.All(statev1.Type_TYPE_DNS_FAULT) {
			f := r.GetDnsFault()
			over := !propagation.InForce(f, now)
			if !over && !req.GetAll() && !wanted[f.GetId()] {
				continue
			}
			forget(txn, r)
			if !over {
				delete(wanted, f.GetId())
				answer.Cleared = append(answer.Cleared, faultAnswer(f))
			}
		}
		for _, id := range req.GetIds() {
			if wanted[id] {
				return nil, apierr.New(apierr.KindNotFound, "", "no fault %q is in force", id)
			}
		}
		if len(txn.GetDeletes()) == 0 {
			return nil, nil
		}
		return txn, nil
	})
	if err != nil {
		return nil, err
	}
	answer.Index = index
	return answer, nil
}

// forget deletes a record in the form in which it was seen.
func forget(txn *statev1.Txn, r *statev1.Record) {
	txn.Guards = append(txn.Guards, guard(r))
	txn.Deletes = append(txn.Deletes, r.GetKey())
}

func faultKey(id string) state.Key { return state.Key{Type: statev1.Type_TYPE_DNS_FAULT, ID: id} }

// canonical is a name as zones have it; nothing stays nothing.
func canonical(name string) string {
	if name == "" {
		return ""
	}
	return strings.ToLower(strings.TrimSuffix(name, ".")) + "."
}

// dnsFaults are the recorded faults, also those that are over.
func dnsFaults(v *state.View) []*statev1.DnsFault {
	var faults []*statev1.DnsFault
	for r := range v.All(statev1.Type_TYPE_DNS_FAULT) {
		faults = append(faults, r.GetDnsFault())
	}
	return faults
}

func faultsInForce(v *state.View, now time.Time) []*adminv1.DnsFault {
	var out []*adminv1.DnsFault
	for _, f := range dnsFaults(v) {
		if propagation.InForce(f, now.UnixNano()) {
			out = append(out, faultAnswer(f))
		}
	}
	return out
}

func faultAnswer(f *statev1.DnsFault) *adminv1.DnsFault {
	return &adminv1.DnsFault{
		Id: f.GetId(), Kind: f.GetKind(), Name: f.GetName(), Zone: f.GetZone(), Place: f.GetPlace(),
		LagMs: time.Duration(f.GetLag()).Milliseconds(), SetAtUnixNano: f.GetSetAt(), EndsAtUnixNano: f.GetEndsAt(),
	}
}
