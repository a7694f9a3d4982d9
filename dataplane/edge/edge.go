package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/posternhq/postern/dataplane/compile"
	"github.com/posternhq/postern/dataplane/integration"
	"github.com/posternhq/postern/dataplane/vpce"
	"github.com/posternhq/postern/internal/netx"
)

// Config is what an Edge needs.
type Config struct {
	// ID names the edge in its log.
	ID string
	// AZs are the zones whose network interfaces are served; none means all.
	AZs []string
	// Port is that of every network interface.
	Port uint16
	// PublicAddr is host:port of the public listener; empty for none.
	PublicAddr string
	// Trusted are the peers whose PROXY protocol v2 headers count; none by default.
	Trusted []netip.Prefix
	// MaxConnections bounds the open connections; 0 means DefaultMaxConnections.
	MaxConnections int

	Network    netx.Network
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Certificates gives the serving certificate of a handshake. Keeper.Certificate
	// does; a nil function means the Keeper's.
	Certificates func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Keeper, if set, is run by the edge and told which regions it serves.
	Keeper *Keeper
	// Backends calls what stands behind the methods; nil means one with defaults.
	Backends *integration.Pool

	// MaxStaleness is the age of the newest news from the control plane beyond
	// which everything is denied; 0 means never. Freshness says that age.
	MaxStaleness time.Duration
	Freshness    func() time.Duration
	// Headers: answers carry x-postern-version, denials x-postern-decision.
	Headers bool
	// Denials is how many refusals are kept for FindDecision; 0 means
	// DefaultDenials, less than 0 none.
	Denials int
}

// DefaultMaxConnections is for one edge, endpoints and public side together.
const DefaultMaxConnections = 8192

// drainTime is how long connections may take to end when the edge stops.
const drainTime = 5 * time.Second

// Edge serves requests.
type Edge struct {
	cfg       Config
	log       *slog.Logger
	metrics   *metrics
	now       atomic.Pointer[installed]
	silence   vpce.Silence
	listeners *listeners
	server    *http.Server
	tls       *tlsConfigs
	denials   *denials
	draining  atomic.Bool
	installs  chan struct{} // wakes cover
}

// installed is a table with what is worth working out once for it.
type installed struct {
	*compile.Table
	version  []string // value of x-postern-version
	classic  bool     // deny-detail
	sourceIP string   // source-ip-on-private
}

// New makes an Edge that denies everything and listens nowhere.
func New(cfg Config) (*Edge, error) {
	if cfg.Network == nil || cfg.Logger == nil || cfg.Registerer == nil {
		return nil, errors.New("edge: Network, Logger and Registerer are needed")
	}
	if cfg.Certificates == nil {
		if cfg.Keeper == nil {
			return nil, errors.New("edge: Certificates or Keeper is needed")
		}
		cfg.Certificates = cfg.Keeper.Certificate
	}
	if cfg.MaxStaleness > 0 && cfg.Freshness == nil {
		return nil, errors.New("edge: MaxStaleness needs Freshness")
	}
	if cfg.Backends == nil {
		cfg.Backends = integration.New(integration.Config{Network: cfg.Network})
	}
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = DefaultMaxConnections
	}
	if cfg.Denials == 0 {
		cfg.Denials = DefaultDenials
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	e := &Edge{cfg: cfg, log: cfg.Logger.With("component", "edge", "node", cfg.ID), metrics: m, installs: make(chan struct{}, 1)}
	e.denials = newDenials(max(0, cfg.Denials))
	e.tls = newTLSConfigs(cfg.Certificates)
	e.listeners = newListeners(e)
	e.server = &http.Server{
		Handler:           e,
		ConnContext:       withConn,
		ConnState:         e.listeners.count,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    2 * maxHeader,
		ErrorLog:          slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),

		DisableGeneralOptionsHandler: true, // OPTIONS * is a request like any other, and denied
	}
	return e, nil
}

// Install puts a table in place and binds the network interfaces that are new
// in it. It does not wait for requests or connections. Without a table (nil) the
// edge denies everything from then on.
func (e *Edge) Install(t *compile.Table) {
	s := t.Settings()
	e.now.Store(&installed{
		Table:    t,
		version:  []string{strconv.FormatUint(t.Index(), 10)},
		classic:  s.DenyDetail == "classic",
		sourceIP: s.SourceIPOnPrivate,
	})
	e.tls.widen(s.TLSMax == "1.3")
	e.listeners.follow()
	select {
	case e.installs <- struct{}{}:
	default:
	}
}

// cover tells the keeper of the regions in each table. Prepare has told it of
// those of new stages already; this is for what has no stage yet, so it may look
// at everything, beside the requests.
func (e *Edge) cover(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.installs:
		}
		t := e.Table()
		for _, l := range t.Listeners() {
			e.cfg.Keeper.Cover(l.Region)
		}
		for a := range t.APIs() {
			e.cfg.Keeper.Cover(a.Region)
		}
	}
}

// Table is the table in place, nil before the first Install.
func (e *Edge) Table() *compile.Table {
	if in := e.now.Load(); in != nil {
		return in.Table
	}
	return nil
}

// Ready says why the edge does not serve yet, nil if it does.
func (e *Edge) Ready() error {
	if e.Table() == nil {
		return errors.New("no snapshot")
	}
	if e.draining.Load() {
		return errors.New("draining")
	}
	if e.cfg.Keeper != nil {
		if err := e.cfg.Keeper.Ready(); err != nil {
			return err
		}
	}
	return e.listeners.ready()
}

// Run serves until ctx ends, then lets go: it answers what is waiting and under
// way, closes its listeners, and returns when all its goroutines have ended.
func (e *Edge) Run(ctx context.Context) error {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	g, own := errgroup.WithContext(own)
	g.Go(func() error { return e.silence.Run(own) })
	if e.cfg.Keeper != nil {
		g.Go(func() error { return e.cfg.Keeper.Run(own) })
		g.Go(func() error { return e.cover(own) })
	}
	g.Go(func() error {
		defer cancel()
		return e.serve(ctx, own)
	})
	err := g.Wait()
	e.cfg.Backends.Close()
	return err
}

// serve accepts connections until ctx ends.
func (e *Edge) serve(ctx, own context.Context) error {
	if err := e.listeners.start(ctx); err != nil {
		return err
	}
	e.listeners.run(ctx) // returns when ctx ends
	e.draining.Store(true)
	e.listeners.drain()
	end, cancel := context.WithTimeout(own, drainTime)
	defer cancel()
	if err := e.server.Shutdown(end); err != nil {
		e.server.Close()
	}
	e.listeners.wait()
	return nil
}

// connKey is where a request's context holds its connection.
type connKey struct{}

// withArrival lets a request find its arrival. The value is ours alone: nothing
// that a client sends ends up in a context under this key.
func withArrival(ctx context.Context, a func() *vpce.Arrival) context.Context {
	return context.WithValue(ctx, connKey{}, a)
}

func arrivalOf(ctx context.Context) *vpce.Arrival {
	if f, ok := ctx.Value(connKey{}).(func() *vpce.Arrival); ok {
		return f()
	}
	return nil
}
