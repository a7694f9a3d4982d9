package identity

import (
	"crypto/sha256"
	"crypto/subtle"

	"github.com/posternhq/postern/internal/pki"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Seal closes the secret of the access key with that id, long-term or not, of
// an account: it opens as that key's only.
func Seal(k *pki.Keyring, account, id, secret string) *statev1.Sealed {
	keyID, box := k.Seal([]byte(secret), place(account, id))
	return &statev1.Sealed{KeyId: keyID, Box: box}
}

// Open returns a secret that Seal closed. Errors do not say what it is.
func Open(k *pki.Keyring, account, id string, s *statev1.Sealed) (string, error) {
	secret, err := k.Open(s.GetKeyId(), s.GetBox(), place(account, id))
	return string(secret), err
}

// place must never change: it is part of what was sealed.
func place(account, id string) string { return "access-key/" + account + "/" + id }

// HashToken is what is kept of a session token.
func HashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// TokenIs reports whether a session has that token, in constant time.
func TokenIs(s *statev1.Session, token string) bool {
	return subtle.ConstantTimeCompare(s.GetTokenHash(), HashToken(token)) == 1
}
