package state

import (
	"google.golang.org/protobuf/proto"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// SettingsKey is the key of the one settings record.
func SettingsKey() Key {
	return Key{Type: statev1.Type_TYPE_SETTINGS, ID: "settings"}
}

// Settings returns the settings that change answers, each with its default
// where none was recorded. Nobody may modify what it returns.
func (v *View) Settings() *statev1.Settings {
	return WithDefaults(v.Get(SettingsKey()).GetSettings())
}

// WithDefaults returns settings with the defaults filled in; s itself stays as it is.
func WithDefaults(s *statev1.Settings) *statev1.Settings {
	filled := &statev1.Settings{}
	if s != nil {
		filled = proto.CloneOf(s)
	}
	for _, d := range []struct {
		field *string
		value string
	}{
		{&filled.DnsProfile, "instant"},
		{&filled.UnknownEndpoints, "refuse"},
		{&filled.TlsMax, "1.2"},
		{&filled.DenyDetail, "detailed"},
		{&filled.SourceIpOnPrivate, "absent"},
		{&filled.Addresses, "loopback"},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	if filled.DnsClock == nil {
		// DNS time is wall time.
		filled.DnsClock = &statev1.DnsClock{Speed: 1}
	}
	return filled
}
