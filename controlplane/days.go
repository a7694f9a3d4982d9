package controlplane

import (
	"context"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/posternhq/postern/controlplane/service"
	"github.com/posternhq/postern/internal/pki"
)

// dayEvery is how often a leader looks what day it is. It need not be often:
// edges have the keys of the next days.
const dayEvery = time.Minute

// days writes the day that signing keys are made around while this node leads:
// a version like any other, so that edges change at an index and not at
// midnight by their own clocks.
func (s *Server) days(ctx context.Context, cfg service.Config) error {
	self := metadata.NewIncomingContext(ctx, metadata.Pairs(metaRole, roleName(pki.RoleServer, s.cfg.ID)))
	for {
		changed := s.node.LeadershipChanged()
		if s.node.IsLeader() {
			attempt, cancel := context.WithTimeout(self, dayEvery)
			if err := service.WriteSigningDay(attempt, cfg); err != nil && ctx.Err() == nil {
				s.cfg.Logger.Info("the day is not written yet", "component", "days", "node", s.cfg.ID, "error", err)
			}
			cancel()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-time.After(dayEvery):
		}
	}
}
