package edge

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/dataplane/integration"
	"github.com/posternhq/postern/dataplane/policy"
	"github.com/posternhq/postern/internal/sigv4"
)

// service is what requests of APIs are signed for.
const service = "execute-api"

// authenticate finds out who signed a request. Everything that the head tells
// is checked before the body is read, which the signature covers.
func (q *request) authenticate(r *http.Request) verdict {
	claim, err := q.verifier.Parse(r)
	if err != nil {
		return q.complain(err)
	}
	c := q.in.Caller(claim.KeyID)
	if c == nil {
		q.reason = fmt.Sprintf("there is no access key %q", claim.KeyID)
		return unknownKey
	}
	q.claimed = c
	if v := q.checkToken(c.Session, claim.Token); v != allowed {
		return v
	}
	if err := claim.CheckTime(q.time); err != nil {
		return q.complain(err)
	}
	if err := claim.CheckScope(q.api.Region, service); err != nil {
		return q.complain(err)
	}
	principal := q.in.PrincipalOf(c)
	key := c.SigningKey(q.api.Region, claim.Time)
	switch {
	case principal == nil:
		q.reason = "the policies of the caller are not here"
		return unknownKey
	case key == nil:
		q.reason = "there is no signing key for this region and day; the control plane sends those of the next days"
		return unknownKey
	}
	body := sigv4.Empty
	if sigv4.NeedsBody(r) && r.ContentLength != 0 {
		var v verdict
		if body, v = q.readBody(r); v != allowed {
			return v
		}
	}
	if err := q.verifier.Verify(r, (*sigv4.Key)(key), body); err != nil {
		return q.complain(err)
	}
	q.caller, q.principal = c, principal
	q.policy.SetPrincipal(&c.Principal)
	if s := c.Session; s != nil {
		q.policy.Set(policy.KeyTokenIssueTime, s.IssuedAt)
		// Nobody has a second factor; for long-term keys the key is absent.
		q.policy.Set(policy.KeyMultiFactorAuthPresent, "false")
		q.policy.Extra = s.Extra
	}
	return allowed
}

// checkToken wants the session token of temporary credentials, and none of
// others.
func (q *request) checkToken(s *compile.Session, token []byte) verdict {
	switch {
	case s == nil && len(token) == 0:
		return allowed
	case s == nil:
		q.reason = "a session token came with a long-term access key"
		return unknownKey
	}
	sum := sha256.Sum256(token)
	switch {
	case subtle.ConstantTimeCompare(sum[:], s.TokenHash[:]) != 1:
		q.reason = "the session token is not that of the access key"
		return unknownKey
	case !q.time.Before(s.ExpiresAt):
		return expiredToken
	}
	return allowed
}

// complain keeps what is wrong with a signature for the answer.
func (q *request) complain(err error) verdict {
	var e *sigv4.Error
	if !errors.As(err, &e) || e.Code == sigv4.MissingAuthenticationToken {
		return missingToken
	}
	q.complaint = e.Message
	if e.Code == sigv4.IncompleteSignature {
		return badAuthorization
	}
	return badSignature
}

// readBody reads the body into memory, from where it goes on to the backend.
func (q *request) readBody(r *http.Request) (sum sigv4.Payload, v verdict) {
	if r.ContentLength > integration.MaxBody {
		return sum, bodyTooLong
	}
	begin := time.Now()
	body, err := readAll(io.LimitReader(r.Body, integration.MaxBody+1), r.ContentLength)
	q.waited = time.Since(begin)
	switch {
	case len(body) > integration.MaxBody:
		return sum, bodyTooLong
	case err != nil:
		q.complaint, q.reason = mismatch, "the body broke off: "+err.Error()
		return sum, badSignature
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	return sha256.Sum256(body), allowed
}

// roomAtOnce is how much room a body gets because it is announced; for more of
// it, more has to come.
const roomAtOnce = 64 << 10

// readAll is io.ReadAll with room for what is announced.
func readAll(r io.Reader, announced int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(max(announced, 0), roomAtOnce)) + bytes.MinRead)
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

const mismatch = "The request signature we calculated does not match the signature you provided. " +
	"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."

// hideSignature takes a signature out of what mappings and backends see
// (data-plane.md §7.6).
func hideSignature(r *http.Request) {
	if values := r.Header["Authorization"]; len(values) > 0 && strings.HasPrefix(values[0], sigv4.Algorithm) {
		delete(r.Header, "Authorization")
	}
}
