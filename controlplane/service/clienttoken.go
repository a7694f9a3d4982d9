package service

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	// tokenLife is how long a client token keeps its answer.
	tokenLife = 24 * time.Hour
	// maxToken is how long one may be, in characters.
	maxToken = 64
)

// clientToken makes a repeated create answer what the first one answered. The
// zero value, of a request without a token, does nothing.
type clientToken struct {
	key         state.Key
	operation   string
	fingerprint []byte
}

// createToken returns the token of a create. The request's parameters are part
// of it, but for the token itself and DryRun.
func createToken(c Caller, operation, token string, req proto.Message) clientToken {
	if token == "" {
		return clientToken{}
	}
	plain := proto.Clone(req)
	fields := plain.ProtoReflect().Descriptor().Fields()
	for _, name := range []string{"client_token", "dry_run"} {
		if f := fields.ByTextName(name); f != nil {
			plain.ProtoReflect().Clear(f)
		}
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(plain)
	if err != nil {
		panic(fmt.Sprintf("marshal %T: %v", plain, err)) // it came in as a message
	}
	sum := sha256.Sum256(encoded)
	return clientToken{key: c.key(statev1.Type_TYPE_TOKEN, operation+"/"+token), operation: operation, fingerprint: sum[:]}
}

// answered fills in the first answer, if there was one.
func (t clientToken) answered(cfg Config, v *state.View, answer proto.Message) (bool, error) {
	if t.operation == "" {
		return false, nil
	}
	known := v.Get(t.key).GetToken()
	if known == nil || cfg.Now().Unix() >= known.GetExpiresAt() {
		return false, nil
	}
	if !bytes.Equal(known.GetFingerprint(), t.fingerprint) {
		return false, apierr.New(apierr.KindConflict, "IdempotentParameterMismatch",
			"The client token has been used for a request with other parameters")
	}
	if err := proto.Unmarshal(known.GetResponse(), answer); err != nil {
		return false, fmt.Errorf("answer kept for %v: %w", t.key, err)
	}
	return true, nil
}

// remember puts the answer into the Txn of the create, so that either both or
// neither happened. The operation's expired tokens go with it.
func (t clientToken) remember(cfg Config, v *state.View, txn *statev1.Txn, answer proto.Message) {
	if t.operation == "" {
		return
	}
	now := cfg.Now()
	for r := range v.List(statev1.Type_TYPE_TOKEN, t.key.Account, t.key.Region, t.operation+"/") {
		if state.KeyOf(r.GetKey()) != t.key && now.Unix() >= r.GetToken().GetExpiresAt() {
			txn.Deletes = append(txn.Deletes, r.GetKey())
		}
	}
	encoded, err := proto.Marshal(answer)
	if err != nil {
		panic(fmt.Sprintf("marshal %T: %v", answer, err))
	}
	txn.Guards = append(txn.Guards, &statev1.Guard{Key: t.key.Proto(), ModifyIndex: v.Get(t.key).GetModifyIndex()})
	txn.Puts = append(txn.Puts, ec2Record(t.key, &statev1.Token{
		Operation: t.operation, Fingerprint: t.fingerprint, Response: encoded, ExpiresAt: now.Add(tokenLife).Unix(),
	}))
}
