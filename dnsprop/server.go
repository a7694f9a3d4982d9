package dnsprop

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posternhq/postern/dnsprop/authority"
	"github.com/posternhq/postern/dnsprop/message"
	"github.com/posternhq/postern/dnsprop/propagation"
	"github.com/posternhq/postern/dnsprop/resolver"
	"github.com/posternhq/postern/dnsprop/zone"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// minPause keeps a burst of instants from waking the Server for each of them.
const minPause = 5 * time.Millisecond

// Server is a DNS server with all its places.
type Server struct {
	cfg     Config
	metrics *metrics

	// zones is what queries read; only Install, under mu, replaces it.
	zones       atomic.Pointer[zone.Set]
	authorities [propagation.Authorities]*authority.Authority
	public      *resolver.Resolver
	named       []named

	notify chan struct{} // capacity 1: versions moved
	wake   chan struct{} // capacity 1: the next instant moved

	mu          sync.Mutex
	phase       phase
	secondaries []*notifier // one for each authority
	sockets     []*socket   // of the authorities, the public resolver, the named ones
	port        uint16      // of the public resolver and those of VPCs
	settings    settings
	changes     map[string]*zone.Change
	vpcs        map[string]*vpc
	tracker     tracker
	next        int64 // instant at which the tracker wants to look again
}

type phase int

const (
	made phase = iota
	listening
	running
	stopped
)

// New returns a Server that does nothing yet.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	cfg.Logger = cfg.Logger.With("component", "dns")
	s := &Server{
		cfg:      cfg,
		notify:   make(chan struct{}, 1),
		wake:     make(chan struct{}, 1),
		settings: defaultSettings(),
		changes:  make(map[string]*zone.Change),
		vpcs:     make(map[string]*vpc),
		next:     zone.Never,
	}
	if s.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, err
	}
	s.zones.Store(s.settings.apply(new(zone.Set)))
	for i := range s.authorities {
		s.authorities[i] = authority.New(authority.Config{
			Number: i, Zones: s.zones.Load, Now: cfg.Now, Shuffle: cfg.Shuffle, MayTransfer: authority.LoopbackAnd(cfg.Transfer),
		})
	}
	s.public = resolver.Public(s.resolverConfig(s.cacheOf(cfg.public)))
	for _, r := range cfg.named {
		s.named = append(s.named, s.newNamed(r))
	}
	s.tracker.resolvers = make([]uint64, 1+len(s.named))
	if err := cfg.Registerer.Register(census{s}); err != nil {
		return nil, fmt.Errorf("register dns metrics: %w", err)
	}
	return s, nil
}

func (s *Server) resolverConfig(cache resolver.Options) resolver.Config {
	return resolver.Config{
		Zones:       s.zones.Load,
		Authorities: s.authorities[:],
		Now:         s.cfg.Now,
		Pick:        s.cfg.Pick,
		Shuffle:     s.cfg.Shuffle,
		Cache:       cache,
	}
}

// Listen binds the addresses of the authorities and of the resolvers outside VPCs, so
// that they are known before Run; Run does it otherwise. Queries wait in the
// sockets until Run. A Server that listens must be run, or it keeps the addresses.
func (s *Server) Listen(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listen(ctx)
}

func (s *Server) listen(ctx context.Context) error {
	switch s.phase {
	case stopped:
		return errors.New("dns server has stopped")
	case made:
	default:
		return nil
	}
	var sockets []*socket
	bind := func(address string, h *message.Handler) error {
		sock, err := open(ctx, s.cfg.Network, address, h, s.cfg.Logger)
		if err == nil {
			sockets = append(sockets, sock)
		}
		return err
	}
	err := error(nil)
	for i, address := range s.cfg.Authorities {
		err = errors.Join(err, bind(address, s.authorityHandler(i)))
	}
	err = errors.Join(err, bind(s.cfg.Resolver, s.resolverHandler(s.resolverID(0), s.public)))
	for i, n := range s.named {
		if bindErr := bind(n.Listen, s.resolverHandler(s.resolverID(1+i), n.resolver)); bindErr != nil {
			err = errors.Join(err, fmt.Errorf("resolver %q: %w", n.Name, bindErr))
		}
	}
	if err != nil {
		for _, sock := range sockets {
			sock.close()
		}
		return err
	}
	s.sockets = sockets
	s.port = sockets[propagation.Authorities].port()
	s.phase = listening
	return nil
}

func (s *Server) authorityHandler(i int) *message.Handler {
	return &message.Handler{Responder: s.authorities[i], Count: count(s.metrics.authorityAnswers, s.authorityID(i)), Logger: s.cfg.Logger}
}

func (s *Server) resolverHandler(place string, r *resolver.Resolver) *message.Handler {
	h := &message.Handler{Responder: r, Count: count(s.metrics.resolverAnswers, place), Logger: s.cfg.Logger}
	if s.cfg.Forward != "" {
		h.Forward = forwarder{network: s.cfg.Network, address: s.cfg.Forward}.exchange
	}
	return h
}

// Run answers queries until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	defer s.stop()
	var notifying sync.WaitGroup
	defer notifying.Wait()
	for _, n := range s.secondaries {
		notifying.Go(func() { n.run(ctx) })
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Stop()
		if pause, ok := s.pause(); ok {
			timer.Reset(pause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-timer.C:
			s.mu.Lock()
			s.evaluate()
			s.mu.Unlock()
		}
	}
}

func (s *Server) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == running {
		return errors.New("dns server is already running")
	}
	if err := s.listen(ctx); err != nil {
		return err
	}
	s.phase = running
	for i := range s.authorities {
		for _, secondary := range s.cfg.Notify {
			s.secondaries = append(s.secondaries, s.newNotifier(i, secondary))
		}
	}
	for _, sock := range s.sockets {
		sock.serve(runtime.GOMAXPROCS(0))
	}
	for _, v := range s.vpcs {
		v.socket.serve(1)
	}
	return nil
}

func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = stopped
	for _, sock := range s.sockets {
		sock.close()
	}
	for _, v := range s.vpcs {
		v.socket.close()
	}
}

// pause is how long nothing happens by itself; false: for ever.
func (s *Server) pause() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == zone.Never {
		return 0, false
	}
	wall, ok := s.settings.clock.Wall(time.Unix(0, s.next))
	if !ok {
		return 0, false
	}
	return max(wall.Sub(s.cfg.Now()), minPause), true
}

// evaluate brings the places' versions up to now. s.mu is held.
func (s *Server) evaluate() {
	before, resolvers := s.tracker.authorities, slices.Clone(s.tracker.resolvers)
	set := s.zones.Load()
	s.next = s.tracker.evaluate(set, set.At(s.cfg.Now()), s.stale, s.metrics.programming)
	if s.tracker.authorities != before || !slices.Equal(s.tracker.resolvers, resolvers) {
		signal(s.notify)
	}
	for _, n := range s.secondaries {
		signal(n.wake)
	}
}

// stale is resolver.Stale at a place: the public resolver, whose version is that
// of VPCs, too, or a named one.
func (s *Server) stale(place int, c *zone.Change, at int64) int64 {
	if place > 0 {
		return s.named[place-1].resolver.Stale(c, at)
	}
	last := s.public.Stale(c, at)
	for _, v := range s.vpcs {
		last = max(last, v.resolver.Stale(c, at))
	}
	return last
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Notify is a channel that receives when versions have moved since the last
// receive. It has one receiver.
func (s *Server) Notify() <-chan struct{} { return s.notify }

// Versions is the version of each place at this moment.
func (s *Server) Versions() []*syncv1.PlaceVersion {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evaluate()
	signal(s.wake) // the next instant may be another
	var out []*syncv1.PlaceVersion
	for i, index := range s.tracker.authorities {
		out = append(out, &syncv1.PlaceVersion{Place: s.authorityID(i), Index: index})
	}
	for i, index := range s.tracker.resolvers {
		out = append(out, &syncv1.PlaceVersion{Place: s.resolverID(i), Index: index})
	}
	return out
}

// Places describes the places of this process. Their addresses are known after Listen.
func (s *Server) Places() []*syncv1.PlaceInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*syncv1.PlaceInfo
	for i := range s.authorities {
		out = append(out, &syncv1.PlaceInfo{Id: s.authorityID(i), Kind: "authority", Address: s.cfg.Authorities[i]})
	}
	out = append(out, &syncv1.PlaceInfo{Id: s.resolverID(0), Kind: "resolver", Address: s.cfg.Resolver})
	for i, n := range s.named {
		out = append(out, &syncv1.PlaceInfo{Id: s.resolverID(1 + i), Kind: "resolver", Address: n.Listen})
	}
	for i, sock := range s.sockets {
		out[i].Address = sock.address()
	}
	return out
}

func (s *Server) authorityID(i int) string { return fmt.Sprintf("%s-ns%d", s.cfg.ID, i+1) }

// vpcID is what the resolver of a VPC is called.
func (s *Server) vpcID(vpc string) string { return s.cfg.ID + "-" + vpc }

// resolverID is the place of the public resolver, 0, or of a named one.
func (s *Server) resolverID(place int) string {
	if place == 0 {
		return s.cfg.ID + "-resolver"
	}
	return s.cfg.ID + "-" + s.named[place-1].Name
}

// Addresses of the places: the authorities and the public resolver, host:port.
// They are valid after Listen.
func (s *Server) Addresses() (authorities [propagation.Authorities]string, public string) {
	places := s.Places()
	for i := range authorities {
		authorities[i] = places[i].GetAddress()
	}
	return authorities, places[len(authorities)].GetAddress()
}

// NamedResolvers are the addresses of the named resolvers, host:port, by name.
// They are valid after Listen.
func (s *Server) NamedResolvers() map[string]string {
	addresses := make(map[string]string, len(s.named))
	for i, p := range s.Places()[len(s.authorities)+1:] {
		addresses[s.named[i].Name] = p.GetAddress()
	}
	return addresses
}

// VPCResolver is the address of a VPC's resolver; false if there is none.
func (s *Server) VPCResolver(id string) (netip.AddrPort, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.vpcs[id]
	if v == nil {
		return netip.AddrPort{}, false
	}
	return v.address, true
}

// Ready reports why the Server cannot answer yet; nil once it has zones.
func (s *Server) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.phase != running:
		return errors.New("dns server is not running")
	case s.tracker.index == 0:
		return errors.New("no dns snapshot yet")
	}
	return nil
}
