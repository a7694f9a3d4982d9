package publish

import (
	"context"
	"time"

	"google.golang.org/grpc"

	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
)

// report tells whoever leads what places acknowledged, until ctx ends. Reports
// are coalesced; the first one to a leader holds everything.
func (p *Publisher) report(ctx context.Context) {
	var to leader
	defer func() { to.close() }()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.connected.wake:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		if err := p.reportOnce(ctx, &to); err != nil {
			to.close()
			if ctx.Err() == nil {
				p.cfg.Logger.Debug("report to the leader", "error", err)
			}
		}
		select {
		case <-time.After(max(0, reportGap-time.Since(began))):
		case <-ctx.Done():
			return
		}
	}
}

// leader is whom the last report went to.
type leader struct {
	conn     grpc.ClientConnInterface // nil: nobody, or this node
	election uint64                   // that this node led by, 0 if it was not this node
	stream   clusterv1.Peer_ReportPlacesClient
	cancel   context.CancelFunc
}

func (l *leader) close() {
	if l.cancel != nil {
		l.cancel()
	}
	*l = leader{}
}

func (p *Publisher) reportOnce(ctx context.Context, to *leader) error {
	conn, self := p.cfg.Leader()
	if self {
		return p.reportSelf(ctx, to)
	}
	if conn == nil {
		to.close()
		return nil
	}
	all := to.stream == nil || to.conn != conn
	if all {
		to.close()
		streaming, cancel := context.WithCancel(ctx)
		stream, err := clusterv1.NewPeerClient(conn).ReportPlaces(streaming)
		if err != nil {
			cancel()
			return err
		}
		*to = leader{conn: conn, stream: stream, cancel: cancel}
	}
	reports, marks := p.connected.collect(all)
	if len(marks) == 0 && !all {
		return nil
	}
	// A leader that hangs is given up; whoever leads next gets everything.
	timeout := time.AfterFunc(reportTimeout, to.cancel)
	defer timeout.Stop()
	if err := to.stream.Send(&clusterv1.ReportPlacesRequest{Node: p.cfg.Node, Reports: reports}); err != nil {
		return err
	}
	resp, err := to.stream.Recv()
	if err != nil {
		return err
	}
	p.connected.prove(marks, resp.GetIndex())
	return nil
}

func (p *Publisher) reportSelf(ctx context.Context, to *leader) error {
	election := p.cfg.Barrier.leadership()
	if election == 0 {
		to.close()
		return nil // elected, but not told yet
	}
	all := to.election != election
	if all {
		to.close()
	}
	reports, marks := p.connected.collect(all)
	if len(marks) == 0 {
		to.election = election
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	index, err := p.cfg.Barrier.take(ctx, election, p.cfg.Node, reports)
	if err != nil {
		return err
	}
	to.election = election
	p.connected.prove(marks, index)
	return nil
}
