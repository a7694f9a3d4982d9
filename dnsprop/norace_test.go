//go:build !race

package dnsprop

const slow = false
