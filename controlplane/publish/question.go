package publish

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/posternhq/postern/proto/postern/edge/v1"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

const (
	// answerPatience bounds how long an edge may take to answer.
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

// FindDecision asks all edges that are connected to this node for a refusal by
// its id. The first that holds it counts; if none does, it says what became of
// asking each.
func (p *Publisher) FindDecision(ctx context.Context, id string) (*edgev1.Decision, []*edgev1.DecisionSearch) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	streams := p.connected.edges()
	type reply struct {
		edge   string
		answer *syncv1.Answer
		err    error
	}
	replies := make(chan reply, len(streams))
	for edge, s := range streams {
		go func() {
			a, err := s.ask(ctx, &syncv1.Query{Question: &syncv1.Query_Decision{Decision: id}})
			replies <- reply{edge, a, err}
		}()
	}
	var searches []*edgev1.DecisionSearch
	for range streams {
		r := <-replies
		if d := r.answer.GetDecision(); d != nil {
			return d, nil
		}
		search := r.answer.GetSearch()
		if search == nil {
			search = &edgev1.DecisionSearch{Unreachable: cmp.Or(r.err, errNoAnswer).Error()}
		}
		search.Edge = r.edge
		searches = append(searches, search)
	}
	slices.SortFunc(searches, func(a, b *edgev1.DecisionSearch) int { return cmp.Compare(a.GetEdge(), b.GetEdge()) })
	return nil, searches
}

// edges returns the streams of the edges that are connected, by their ids.
func (c *connected) edges() map[string]*subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	streams := map[string]*subscription{}
	for key, ca := range c.carriers {
		if key.domain == syncv1.Domain_DOMAIN_EDGE && ca.stream != nil {
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
