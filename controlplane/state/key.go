package state

import (
	"fmt"
	"strings"

	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Key identifies a record.
type Key struct {
	Type    statev1.Type
	Account string
	Region  string
	ID      string
}

// KeyOf returns the key that a message holds; a nil message gives the zero Key.
func KeyOf(k *statev1.Key) Key {
	return Key{Type: k.GetType(), Account: k.GetAccount(), Region: k.GetRegion(), ID: k.GetId()}
}

// Proto returns the key as a message.
func (k Key) Proto() *statev1.Key {
	return &statev1.Key{Type: k.Type, Account: k.Account, Region: k.Region, Id: k.ID}
}

// String is for logs and messages: "STAGE 123456789012/us-west-2/a1b2c3/prod".
func (k Key) String() string {
	name := strings.TrimPrefix(k.Type.String(), "TYPE_")
	if k.Account == "" && k.Region == "" {
		return name + " " + k.ID
	}
	return fmt.Sprintf("%s %s/%s/%s", name, k.Account, k.Region, k.ID)
}

// Index keys are sequences of strings in an encoding that keeps their order
// and that no content can forge: each part ends in 00 01, and a zero byte
// inside a part becomes 00 FF.
const (
	escape     = 0x00
	terminator = 0x01
	escapedNUL = 0xff
)

func appendPart(b []byte, part string) []byte {
	return append(appendOpenPart(b, part), escape, terminator)
}

// appendOpenPart leaves the part unterminated: a prefix of every part that begins so.
func appendOpenPart(b []byte, part string) []byte {
	for {
		i := strings.IndexByte(part, 0)
		if i < 0 {
			return append(b, part...)
		}
		b = append(append(b, part[:i]...), escape, escapedNUL)
		part = part[i+1:]
	}
}

func appendRecordKey(b []byte, account, region, id string) []byte {
	return appendPart(appendPart(appendPart(b, account), region), id)
}
