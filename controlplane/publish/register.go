package publish

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/posternhq/postern/controlplane/state"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// refused ends a client's stream for good.
type refused struct {
	reason  string
	removed bool
}

func (r *refused) Error() string { return r.reason }

var errRemoved = &refused{"removed by an operator", true}

// kinds of the places of a domain.
func kindIn(domain syncv1.Domain, kind string) bool {
	if domain == syncv1.Domain_DOMAIN_EDGE {
		return kind == "edge"
	}
	return kind == "authority" || kind == "resolver"
}

func checkHello(domain syncv1.Domain, h *syncv1.Hello) error {
	if h.GetCarrier() == "" {
		return status.Error(codes.InvalidArgument, "a Hello needs a carrier")
	}
	for _, p := range h.GetPlaces() {
		if p.GetId() == "" || p.GetInstance() == "" || !kindIn(domain, p.GetKind()) || p.GetMaxStalenessMs() < 0 {
			return status.Errorf(codes.InvalidArgument, "place %q of kind %q in domain %v: it needs an id, an instance, and a kind of the domain", p.GetId(), p.GetKind(), domain)
		}
	}
	return nil
}

// register makes the places of a Hello count, unless they do. fresh says that it
// had to: then the record is newer than anything acknowledged before, and the
// first snapshot has to be at or after index, which holds the record. The caller
// has made sure that this node knows all that the client does, so a missing
// record means a removed place.
func (p *Publisher) register(ctx context.Context, domain syncv1.Domain, h *syncv1.Hello) (fresh bool, index uint64, err error) {
	if p.cfg.Register == nil {
		return true, 0, nil
	}
	v := p.cfg.Store.View()
	req := &adminv1.RegisterPlacesRequest{Exact: domain == syncv1.Domain_DOMAIN_DNS}
	for _, info := range h.GetPlaces() {
		rec := placeRecord(v, info.GetId())
		switch {
		case rec == nil && h.GetIndex() > 0 && domain == syncv1.Domain_DOMAIN_EDGE:
			return false, 0, &refused{fmt.Sprintf("place %s was removed", info.GetId()), true}
		case rec != nil && rec.GetInstance() != info.GetInstance():
			// One that has served before would go on serving what it has.
			return false, 0, &refused{fmt.Sprintf("place %s is registered by another instance", info.GetId()), h.GetIndex() > 0}
		case rec == nil || !sameRegistration(rec, h.GetCarrier(), info):
			fresh = true
		}
		req.Places = append(req.Places, &adminv1.PlaceRegistration{
			Id: info.GetId(), Kind: info.GetKind(), Az: info.GetAz(), Address: info.GetAddress(),
			Instance: info.GetInstance(), MaxStalenessMs: info.GetMaxStalenessMs(), Carrier: h.GetCarrier(),
		})
	}
	if req.GetExact() && !fresh {
		fresh = carriesOthers(v, h)
	}
	if !fresh || len(req.GetPlaces()) == 0 {
		return fresh, 0, nil
	}
	if err := p.cfg.Register(ctx, req); err != nil {
		return false, 0, fmt.Errorf("register places of %s: %w", h.GetCarrier(), err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, status.Error(codes.Unavailable, "this node lags behind the registration"))
	defer cancel()
	v, err = await(ctx, p.cfg.Store, func(v *state.View) bool {
		for _, info := range h.GetPlaces() {
			if placeRecord(v, info.GetId()).GetInstance() != info.GetInstance() {
				return false
			}
		}
		return true
	})
	if err != nil {
		return false, 0, err
	}
	return true, v.Index(), nil
}

// counts says whether all places of a Hello are still registered as they are.
func (p *Publisher) counts(h *syncv1.Hello) bool {
	v := p.cfg.Store.View()
	for _, info := range h.GetPlaces() {
		if p.cfg.Register != nil && placeRecord(v, info.GetId()).GetInstance() != info.GetInstance() {
			return false
		}
	}
	return true
}

// registeredAs says whether all places of a Hello are registered as it says.
func (p *Publisher) registeredAs(h *syncv1.Hello) bool {
	v := p.cfg.Store.View()
	for _, info := range h.GetPlaces() {
		if rec := placeRecord(v, info.GetId()); p.cfg.Register != nil && (rec == nil || !sameRegistration(rec, h.GetCarrier(), info)) {
			return false
		}
	}
	return true
}

func sameRegistration(rec *statev1.Place, carrier string, info *syncv1.PlaceInfo) bool {
	return rec.GetCarrier() == carrier && rec.GetKind() == info.GetKind() && rec.GetAz() == info.GetAz() &&
		rec.GetAddress() == info.GetAddress() && rec.GetMaxStalenessMs() == info.GetMaxStalenessMs()
}

// carriesOthers says whether the state holds places of the carrier that it does not list.
func carriesOthers(v *state.View, h *syncv1.Hello) bool {
	listed := make(map[string]bool, len(h.GetPlaces()))
	for _, info := range h.GetPlaces() {
		listed[info.GetId()] = true
	}
	for r := range v.All(statev1.Type_TYPE_PLACE) {
		if r.GetPlace().GetCarrier() == h.GetCarrier() && !listed[r.GetPlace().GetId()] {
			return true
		}
	}
	return false
}

// caughtUp waits until this node's feed is at an index.
func (p *Publisher) caughtUp(ctx context.Context, s *subscription, index uint64) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		at, _, moved := s.feed.now()
		if at >= index {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.stopped:
			return errStopping
		case <-timeout.C:
			return status.Errorf(codes.Unavailable, "this node is at %d, the client at %d", at, index)
		}
	}
}
