package service

import (
	"cmp"
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
	stsv1 "github.com/posternhq/postern/proto/postern/sts/v1"
)

type stsServer struct {
	stsv1.UnimplementedSTSServer
	cfg Config
}

// NewSTS returns the STS service: who the caller is, and credentials that end.
// The latter need Config.Keyring.
func NewSTS(cfg Config) stsv1.STSServer { return &stsServer{cfg: cfg.withDefaults()} }

// GetCallerIdentity says whose the access key of the request is.
func (s *stsServer) GetCallerIdentity(ctx context.Context, _ *stsv1.GetCallerIdentityRequest) (*stsv1.GetCallerIdentityResponse, error) {
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	h := holder(ctx, s.cfg, v)
	return &stsv1.GetCallerIdentityResponse{Account: new(h.Account), Arn: new(h.ARN()), UserId: new(h.UserID())}, nil
}

// AWS's limits on sessions, in seconds.
const (
	defaultUserSession = 12 * 3600
	maxRootSession     = 3600
	maxChainedSession  = 3600
)

// GetSessionToken makes credentials of the caller's own that end.
func (s *stsServer) GetSessionToken(ctx context.Context, req *stsv1.GetSessionTokenRequest) (*stsv1.GetSessionTokenResponse, error) {
	var made *stsv1.Credentials
	_, err := update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		h := holder(ctx, s.cfg, v)
		if h.Session != nil {
			return nil, apierr.New(apierr.KindAccessDenied, "AccessDenied", "Cannot call GetSessionToken with session credentials")
		}
		seconds := cmp.Or(req.GetDurationSeconds(), defaultUserSession)
		session := &statev1.Session{Account: h.Account}
		if h.User == nil {
			seconds = min(seconds, maxRootSession) // as AWS does, without a word
		} else {
			session.User, session.PrincipalId = h.User.GetName(), h.User.GetId()
		}
		txn := &statev1.Txn{}
		var err error
		made, err = s.cfg.begin(v, txn, session, seconds)
		return txn, err
	})
	if err != nil {
		return nil, err
	}
	return &stsv1.GetSessionTokenResponse{Credentials: made}, nil
}

const (
	// sessionKept is how long a session is kept beyond its end, so that its holder
	// is told that it has ended and not that it never was.
	sessionKept = time.Hour
	// maxReaped bounds what one write deletes of old sessions. It is more than the
	// one that the write adds, so that they become fewer.
	maxReaped = 64
	// timeAlphabet is idAlphabet in the order of its characters.
	timeAlphabet = "234567ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	tokenLength  = 256
)

// begin completes a session and puts it; sessions that are long over leave.
func (cfg Config) begin(v *state.View, txn *statev1.Txn, s *statev1.Session, seconds int32) (*stsv1.Credentials, error) {
	now := cfg.Now()
	s.CreatedAt = now.Unix()
	s.ExpiresAt = s.CreatedAt + int64(seconds)
	s.Id = "ASIA" + timeText(s.ExpiresAt) + cfg.pick(idAlphabet, 9)
	secret, sealed, err := cfg.newSecret(v, s.GetAccount(), s.GetId())
	if err != nil {
		return nil, err
	}
	token := cfg.pick(secretAlphabet, tokenLength)
	s.Secret, s.TokenHash = sealed, identity.HashToken(token)

	key := identity.SessionKey(s.GetId())
	txn.Guards = append(txn.Guards, absent(key))
	txn.Puts = append(txn.Puts, &statev1.Record{Key: key.Proto(), Value: &statev1.Record_Session{Session: proto.CloneOf(s)}})
	// In the order in which they end.
	for r := range v.All(statev1.Type_TYPE_SESSION) {
		if len(txn.Deletes) == maxReaped || r.GetSession().GetExpiresAt() > now.Add(-sessionKept).Unix() {
			break
		}
		txn.Deletes = append(txn.Deletes, r.GetKey())
	}
	return &stsv1.Credentials{
		AccessKeyId: new(s.GetId()), SecretAccessKey: new(secret), SessionToken: new(token), Expiration: iamTime(s.GetExpiresAt()),
	}, nil
}

// timeText is a time in seven characters that are ordered as times are, for
// another thousand years.
func timeText(seconds int64) string {
	var b [7]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = timeAlphabet[seconds&31]
		seconds >>= 5
	}
	return string(b[:])
}

func stsInvalid(format string, args ...any) error {
	return apierr.New(apierr.KindInvalid, "ValidationError", format, args...)
}
