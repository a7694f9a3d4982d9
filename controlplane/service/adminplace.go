package service

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

func placeKey(id string) state.Key {
	return state.Key{Type: statev1.Type_TYPE_PLACE, ID: id}
}

// RegisterPlaces makes the places of one process count in barriers from this
// index on. A place is its id plus the instance number of its data folder:
// another instance under the same id is refused until the first is removed,
// because the first may still be serving.
func (a *admin) RegisterPlaces(ctx context.Context, req *adminv1.RegisterPlacesRequest) (*adminv1.RegisterPlacesResponse, error) {
	carriers := map[string]bool{}
	for _, p := range req.GetPlaces() {
		switch p.GetKind() {
		case "edge", "authority", "resolver":
		default:
			return nil, apierr.BadRequest("Invalid kind %q of place %q: edge, authority or resolver", p.GetKind(), p.GetId())
		}
		if p.GetId() == "" || p.GetInstance() == "" || p.GetMaxStalenessMs() < 0 {
			return nil, apierr.BadRequest("a place needs an id, an instance and a staleness bound of at least 0")
		}
		carriers[p.GetCarrier()] = true
	}
	index, err := update(ctx, a.cfg.Config, func(v *state.View) (*statev1.Txn, error) {
		txn := &statev1.Txn{}
		listed := map[string]bool{}
		for _, p := range req.GetPlaces() {
			listed[p.GetId()] = true
			key := placeKey(p.GetId())
			place := &statev1.Place{
				Id: p.GetId(), Kind: p.GetKind(), Az: p.GetAz(), Address: p.GetAddress(),
				Instance: p.GetInstance(), MaxStalenessMs: p.GetMaxStalenessMs(), Carrier: p.GetCarrier(),
			}
			known := v.Get(key)
			if known != nil {
				if known.GetPlace().GetInstance() != p.GetInstance() {
					return nil, apierr.Conflict("place %q is registered by another instance, which may still be serving: remove it first (`postern admin places remove %s`)", p.GetId(), p.GetId())
				}
				if proto.Equal(known.GetPlace(), place) {
					continue
				}
			}
			txn.Guards = append(txn.Guards, &statev1.Guard{Key: key.Proto(), ModifyIndex: known.GetModifyIndex()})
			txn.Puts = append(txn.Puts, &statev1.Record{Key: key.Proto(), Value: &statev1.Record_Place{Place: place}})
		}
		if req.GetExact() {
			for r := range v.All(statev1.Type_TYPE_PLACE) {
				if p := r.GetPlace(); carriers[p.GetCarrier()] && !listed[p.GetId()] {
					txn.Guards = append(txn.Guards, guard(r))
					txn.Deletes = append(txn.Deletes, r.GetKey())
				}
			}
		}
		if len(txn.Puts) == 0 && len(txn.Deletes) == 0 {
			return nil, nil
		}
		return txn, nil
	})
	if err != nil {
		return nil, err
	}
	return &adminv1.RegisterPlacesResponse{Index: index}, nil
}

// RemovePlace ends a place's part in the barrier. Should it come back, it denies.
func (a *admin) RemovePlace(ctx context.Context, req *adminv1.RemovePlaceRequest) (*adminv1.RemovePlaceResponse, error) {
	index, err := update(ctx, a.cfg.Config, func(v *state.View) (*statev1.Txn, error) {
		r := v.Get(placeKey(req.GetId()))
		if r == nil {
			return nil, apierr.NotFound("no place %q is registered", req.GetId())
		}
		return &statev1.Txn{Guards: []*statev1.Guard{guard(r)}, Deletes: []*statev1.Key{r.GetKey()}}, nil
	})
	if err != nil {
		return nil, err
	}
	return &adminv1.RemovePlaceResponse{Index: index}, nil
}
