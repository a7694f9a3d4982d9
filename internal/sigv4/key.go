package sigv4

import "crypto/sha256"

// Key signs for one day, region and service. Who has it can make signatures of
// that scope, and no others.
type Key [32]byte

// DeriveKey is the key of a secret for a scope; the date is as in 20150830.
func DeriveKey(secret, date, region, service string) Key {
	// HMAC hashes keys longer than a block first (RFC 2104), as secrets may be.
	start := []byte("AWS4" + secret)
	if len(start) > sha256.BlockSize {
		sum := sha256.Sum256(start)
		start = sum[:]
	}
	k := mac(start, date)
	for _, part := range []string{region, service, terminator} {
		k = mac(k[:], part)
	}
	return Key(k)
}

// mac is HMAC-SHA-256 (RFC 2104) of a short message with a key of at most a
// block, on the stack.
func mac[T ~string | ~[]byte](key []byte, message T) [32]byte {
	var inner [sha256.BlockSize + maxMessage]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	for i := range sha256.BlockSize {
		var k byte
		if i < len(key) {
			k = key[i]
		}
		inner[i], outer[i] = k^0x36, k^0x5c
	}
	n := copy(inner[sha256.BlockSize:], message)
	if n < len(message) {
		panic("sigv4: message is too long")
	}
	sum := sha256.Sum256(inner[:sha256.BlockSize+n])
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}

// maxMessage is more than a string to sign is long, whose scope is bounded by
// maxScope.
const maxMessage = 1024
