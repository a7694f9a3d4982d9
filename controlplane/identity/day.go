package identity

import (
	"time"

	"github.com/posternhq/postern/controlplane/state"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// SigningDayKey is the key of the record that says which day it is for signing
// keys.
func SigningDayKey() state.Key { return state.Key{Type: statev1.Type_TYPE_SIGNING_DAY, ID: "day"} }

// DayOf is the day of a time, counted as in that record: from 1970-01-01, UTC.
func DayOf(t time.Time) int64 { return t.Unix() / 86400 }
