package guard

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"time"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/internal/sigv4"
	awsv1 "github.com/posternhq/postern/proto/postern/aws/v1"
)

// Key is an access key that may be used, with what its holder may do.
type Key struct {
	ID     string
	Secret string
	// Token is the SHA-256 of the session token that goes with the key, Expires
	// the session's end; nil and zero for keys of users.
	Token   *[sha256.Size]byte
	Expires time.Time
	Caller  *Caller
}

// Caller is who holds a key. It is shared between calls.
type Caller struct {
	KeyID   string
	Account string
	// Principal is what policies know him by, and its ARN what refusals call him.
	Principal *policy.Principal
	// Root is the root user of his account, who may do everything in it.
	Root bool
	// Operator: his account runs the cluster, so its identities may be allowed
	// what concerns all accounts.
	Operator bool
	// Identity are his own policies; none allow nothing. A Boundary or Session of
	// which there is none restricts nothing; several are one policy together.
	Identity, Boundary, Session []*policy.Program
	// Context are further condition keys that are his.
	Context map[string][]string
}

// Keys are the access keys that are stored.
type Keys interface {
	// Key returns an active key, nil if there is none of that id.
	Key(ctx context.Context, id string) (*Key, error)
}

// Guard judges calls.
type Guard struct {
	keys Keys
	now  func() time.Time
}

// New returns a Guard. now may be nil.
func New(keys Keys, now func() time.Time) *Guard {
	if now == nil {
		now = time.Now
	}
	return &Guard{keys: keys, now: now}
}

// Request is an HTTP request whose signature is looked at.
type Request struct {
	*http.Request
	Body []byte
	// Protocol is in whose words he is refused; Service is the signing name that
	// the scope must have, empty if it may name any.
	Protocol awsv1.Protocol_Kind
	Service  string
}

// Scope is what a caller signed for.
type Scope struct{ KeyID, Region, Service string }

// Authenticate returns who signed a request, and what for.
func (g *Guard) Authenticate(ctx context.Context, r Request) (*Caller, Scope, *apierr.Error) {
	v := new(sigv4.Verifier)
	claim, err := v.Parse(r.Request)
	if err != nil {
		return nil, Scope{}, r.badSignature(err)
	}
	scope := Scope{KeyID: string(claim.KeyID), Region: string(claim.Region), Service: string(claim.Service)}
	c, refused := g.verify(ctx, r, v, claim, scope)
	return c, scope, refused
}

func (g *Guard) verify(ctx context.Context, r Request, v *sigv4.Verifier, claim *sigv4.Claim, scope Scope) (*Caller, *apierr.Error) {
	key, err := g.keys.Key(ctx, scope.KeyID)
	if err != nil {
		return nil, apierr.FromGRPC(err)
	}
	if key == nil || (key.Token == nil) != (len(claim.Token) == 0) {
		return nil, r.refuse(unknownKey, "The security token included in the request is invalid.")
	}
	if key.Token != nil {
		sum := sha256.Sum256(claim.Token)
		if subtle.ConstantTimeCompare(sum[:], key.Token[:]) != 1 {
			return nil, r.refuse(unknownKey, "The security token included in the request is invalid.")
		}
		if !g.now().Before(key.Expires) {
			return nil, r.refuse(expiredToken, "The security token included in the request is expired")
		}
	}
	if err := claim.CheckTime(g.now()); err != nil {
		return nil, r.badSignature(err)
	}
	if r.Service != "" {
		if err := claim.CheckScope(scope.Region, r.Service); err != nil {
			return nil, r.badSignature(err)
		}
	}
	signing := sigv4.DeriveKey(key.Secret, string(claim.Date), scope.Region, scope.Service)
	if err := v.Verify(r.Request, &signing, sha256.Sum256(r.Body)); err != nil {
		return nil, r.badSignature(err)
	}
	return key.Caller, nil
}

// flaw is why a caller is not believed.
type flaw int

const (
	noSignature flaw = iota
	incompleteSignature
	wrongSignature
	unknownKey
	expiredToken
)

// flawCodes are the words of each protocol for a flaw.
var flawCodes = map[awsv1.Protocol_Kind][expiredToken + 1]string{
	awsv1.Protocol_KIND_REST_JSON: {"MissingAuthenticationTokenException", "IncompleteSignatureException", "InvalidSignatureException", "UnrecognizedClientException", "ExpiredTokenException"},
	awsv1.Protocol_KIND_EC2_QUERY: {"MissingParameter", "IncompleteSignature", "SignatureDoesNotMatch", "AuthFailure", "RequestExpired"},
	awsv1.Protocol_KIND_QUERY:     {"MissingAuthenticationToken", "IncompleteSignature", "SignatureDoesNotMatch", "InvalidClientTokenId", "ExpiredToken"},
	awsv1.Protocol_KIND_REST_XML:  {"MissingAuthenticationToken", "IncompleteSignature", "SignatureDoesNotMatch", "InvalidClientTokenId", "ExpiredToken"},
}

func (r Request) refuse(f flaw, message string) *apierr.Error {
	if r.Protocol == awsv1.Protocol_KIND_EC2_QUERY {
		switch f {
		case noSignature:
			message = "The request must contain the parameter AWSAccessKeyId"
		case unknownKey:
			message = "AWS was not able to validate the provided access credentials"
		}
	}
	return apierr.New(apierr.KindUnauthenticated, flawCodes[r.Protocol][f], "%s", message)
}

func (r Request) badSignature(err error) *apierr.Error {
	e, ok := err.(*sigv4.Error)
	if !ok {
		return apierr.Internal("%v", err)
	}
	f := wrongSignature
	switch e.Code {
	case sigv4.MissingAuthenticationToken:
		f = noSignature
	case sigv4.IncompleteSignature:
		f = incompleteSignature
	}
	return r.refuse(f, e.Message)
}

type callerKey struct{}

// With returns a context that carries an authenticated caller.
func With(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf is the caller that a context carries, nil if it carries none.
func CallerOf(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}
