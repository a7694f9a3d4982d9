package syncclient

import (
	"context"

	"google.golang.org/protobuf/proto"

	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

const (
	// maxQueries is how many questions of one stream wait for their answers;
	// what comes beyond is left unanswered.
	maxQueries = 16
	// maxAnswer bounds one answer.
	maxAnswer = 3 << 20
)

// ask takes a question; it never waits, since snapshots come on the same stream.
func (s *stream) ask(q *syncv1.Query) {
	if s.c.cfg.Answer == nil {
		return
	}
	select {
	case s.queries <- q:
	default:
		s.c.cfg.Logger.Debug("too many questions at once", "query", q.GetId())
	}
}

// answer answers questions, one at a time, until ctx ends. Working an answer
// out may take a while, so neither the receiving nor the sending goroutine does.
func (s *stream) answer(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-s.queries:
			a := s.c.cfg.Answer(q)
			if a == nil {
				continue
			}
			if n := proto.Size(a); n > maxAnswer {
				s.c.cfg.Logger.Warn("an answer is too large to be sent", "query", q.GetId(), "bytes", n)
				continue
			}
			a.Id = q.GetId()
			select {
			case s.answers <- a:
			case <-ctx.Done():
				return
			}
		}
	}
}
