//go:build !unix

package vpcclient

// isRefused is a nicety of error reporting that other systems go without.
func isRefused(error) bool { return false }
