//go:build !unix || solaris || illumos || aix

package netx

import "errors"

func setReusePort(uintptr) error {
	return errors.New("this system can't share a port between sockets")
}
