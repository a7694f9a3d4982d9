//go:build race

package dnsprop

// slow: the race detector makes everything ten times as long.
const slow = true
