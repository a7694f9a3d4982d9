//go:build !linux

package vpcclient

import (
	"context"
	"errors"
)

// Inside needs network namespaces, which this system does not have.
func (p *Proxy) Inside(context.Context, Where, func() error) error {
	return errors.New("network namespaces are there on Linux only; without --netns the program is given proxy variables")
}
