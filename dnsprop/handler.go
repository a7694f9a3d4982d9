package dnsprop

import (
	"github.com/posternhq/postern/dnsprop/message"
	"github.com/posternhq/postern/dnsprop/propagation"
)

// Handler answers queries in this process as a place does, while the Server is
// not running, too: ns1 to ns4, the public resolver ("public"), one with a name,
// or that of a VPC by its id. It is nil if there is no such place.
func (s *Server) Handler(place string) *message.Handler {
	for i := range s.authorities {
		if place == propagation.PlaceOf(i) {
			return s.authorityHandler(i)
		}
	}
	if place == publicName {
		return s.resolverHandler(s.resolverID(0), s.public)
	}
	for i, n := range s.named {
		if n.Name == place {
			return s.resolverHandler(s.resolverID(1+i), n.resolver)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.vpcs[place]; v != nil {
		return s.resolverHandler(s.vpcID(place), v.resolver)
	}
	return nil
}
