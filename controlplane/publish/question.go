package publish

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/posternhq/postern/proto/postern/cluster/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

const (
	// answerPatience bounds how long a client may take to answer.
	answerPatience = 2 * time.Second
	// maxQuestions is how many questions of one stream may be open.
	maxQuestions = 16
	// maxAnswer bounds one answer; what passes it on has to fit a client.
	maxAnswer = 3 << 20
)

var (
	errBusy     = errors.New("too many questions wait for it")
	errNoAnswer = errors.New("it did not answer in time")
	errEnded    = errors.New("its stream ended")
	errTooLarge = errors.New("its answer is too large")
)

// Ask puts a question to the clients of a domain that are connected to this node,
// and says what became of asking each. An answer that leaves nothing to ask ends
// it, and comes alone.
func (p *Publisher) Ask(ctx context.Context, domain syncv1.Domain, q *syncv1.Query) []*clusterv1.Reply {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	streams := p.connected.streams(domain)
	replies := make(chan *clusterv1.Reply, len(streams))
	for carrier, s := range streams {
		go func() {
			r := &clusterv1.Reply{Carrier: carrier}
			var err error
			if r.Answer, err = s.ask(ctx, &syncv1.Query{Question: q.GetQuestion()}); err != nil {
				r.Unanswered = err.Error()
			}
			replies <- r
		}()
	}
	var all []*clusterv1.Reply
	for range streams {
		r := <-replies
		if Conclusive(r.GetAnswer()) {
			return []*clusterv1.Reply{r}
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *clusterv1.Reply) int { return cmp.Compare(a.GetCarrier(), b.GetCarrier()) })
	return all
}

// Conclusive reports whether an answer is all there is to know: a decision is at
// one edge only.
func Conclusive(a *syncv1.Answer) bool { return a.GetDecision() != nil }

// streams are those of a domain's clients that are connected, by their ids.
func (c *connected) streams(domain syncv1.Domain) map[string]*subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	streams := map[string]*subscription{}
	for key, ca := range c.carriers {
		if key.domain == domain && ca.stream != nil {
			streams[key.id] = ca.stream
		}
	}
	return streams
}

// questions are those that a stream was asked and has not answered. They are
// guarded by the stream's mu.
type questions struct {
	last   uint64
	open   map[uint64]chan<- *syncv1.Answer // each of capacity 1
	unsent []*syncv1.Query
}

// ask sends a question down the stream and waits for its answer. It takes q.
func (s *subscription) ask(ctx context.Context, q *syncv1.Query) (*syncv1.Answer, error) {
	answer := make(chan *syncv1.Answer, 1)
	s.mu.Lock()
	if len(s.questions.open) >= maxQuestions {
		s.mu.Unlock()
		return nil, errBusy
	}
	if s.questions.open == nil {
		s.questions.open = map[uint64]chan<- *syncv1.Answer{}
	}
	s.questions.last++
	q.Id = s.questions.last
	s.questions.open[q.Id] = answer
	s.questions.unsent = append(s.questions.unsent, q)
	s.mu.Unlock()
	s.poke()
	defer s.drop(q)
	select {
	case a := <-answer:
		if proto.Size(a) > maxAnswer {
			return nil, errTooLarge
		}
		return a, nil
	case <-s.rpc.Context().Done():
		return nil, errEnded
	case <-ctx.Done():
		return nil, errNoAnswer
	}
}

// drop forgets a question, which may have been answered or not even sent.
func (s *subscription) drop(q *syncv1.Query) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.questions.open, q.Id)
	s.questions.unsent = slices.DeleteFunc(s.questions.unsent, func(other *syncv1.Query) bool { return other == q })
}

// inquire sends the questions that wait.
func (s *subscription) inquire() error {
	s.mu.Lock()
	waiting := s.questions.unsent
	s.questions.unsent = nil
	s.mu.Unlock()
	for _, q := range waiting {
		if err := s.rpc.Send(&syncv1.SubscribeResponse{Message: &syncv1.SubscribeResponse_Query{Query: q}}); err != nil {
			return err
		}
	}
	return nil
}

// reply takes the answer to a question. One that nobody waits for any more, or
// that was never asked, is of no interest.
func (s *subscription) reply(a *syncv1.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer := s.questions.open[a.GetId()]; answer != nil {
		delete(s.questions.open, a.GetId())
		answer <- a
	}
}
