package sigv4

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
)

// maxScope bounds date, region and service together, so that a string to sign
// fits into a message.
const maxScope = 512

// Verifier reads and checks one request after another. The zero Verifier is
// ready; its buffers are reused, so that it allocates nothing once they have
// grown. It belongs to one goroutine at a time.
type Verifier struct {
	claim  Claim
	text   []byte // of the claim
	buf    []byte // canonical request
	arena  []byte // escaped parameters
	sorted []param
	name   []byte
}

// Payload is the hash of a request's body.
type Payload = [sha256.Size]byte

// Empty is the hash of no body.
var Empty Payload = sha256.Sum256(nil)

// NeedsBody reports whether the signature covers the body, so that Verify needs
// its hash.
func NeedsBody(r *http.Request) bool { return first(r.Header["X-Amz-Content-Sha256"]) != Unsigned }

// Verify checks the signature of the request that was parsed last against the
// key of its claim and the hash of its body. It says nothing about time and scope.
func (v *Verifier) Verify(r *http.Request, key *Key, body Payload) error {
	if len(v.claim.Date)+len(v.claim.Region)+len(v.claim.Service) > maxScope {
		return mismatch()
	}
	forms := [...]form{{}, {normal: true}, {bare: true}, {normal: true, bare: true}}
	err := error(nil)
	for _, f := range forms {
		if f.normal && ordinary(sentPath(r)) || f.bare && (!v.claim.Presigned || len(v.claim.Token) == 0) {
			continue
		}
		var ok bool
		if ok, err = v.matches(r, key, &body, f); ok || err != nil {
			return err
		}
	}
	return mismatch()
}

func (v *Verifier) matches(r *http.Request, key *Key, body *Payload, f form) (bool, error) {
	b, err := v.canonical(v.buf[:0], r, f)
	v.buf = b
	if err != nil {
		return false, err
	}
	if v.buf, err = payload(b, r, body); err != nil {
		return false, err
	}
	sum := sha256.Sum256(v.buf)

	// The string to sign, where the canonical request was.
	b = append(v.buf[:0], Algorithm...)
	b = append(b, '\n')
	b = v.claim.Time.AppendFormat(b, timeLayout)
	b = append(b, '\n')
	for _, part := range [...][]byte{v.claim.Date, v.claim.Region, v.claim.Service} {
		b = append(append(b, part...), '/')
	}
	b = append(b, terminator...)
	b = append(b, '\n')
	b = hex.AppendEncode(b, sum[:])
	v.buf = b
	want := mac(key[:], b)
	return subtle.ConstantTimeCompare(want[:], v.claim.signature[:]) == 1, nil
}

// payload appends the payload hash. What the header says must be so.
func payload(b []byte, r *http.Request, body *Payload) ([]byte, error) {
	said := first(r.Header["X-Amz-Content-Sha256"])
	if said == Unsigned {
		return append(b, said...), nil
	}
	start := len(b)
	b = hex.AppendEncode(b, body[:])
	if said != "" && said != string(b[start:]) {
		return b, mismatch()
	}
	return b, nil
}
