package service

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	mathrand "math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/identity"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/internal/pki"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// Metadata keys of requests and answers. The gateway writes the first group
// from what the HTTP request carries and turns the second into HTTP headers.
const (
	metaAccount     = "x-postern-account"
	metaRegion      = "x-postern-region"
	metaRequestID   = "x-postern-request-id"
	metaConsistency = "x-postern-consistency"
	metaMinIndex    = "x-postern-min-index"

	metaVersion = "x-postern-version"
	metaWarning = "x-postern-warning"
)

// Caller and region of a request that names none (design §9).
const (
	defaultAccount = "123456789012"
	defaultRegion  = "us-west-2"
)

// Cluster is what the services need of a cluster node.
type Cluster interface {
	// ReadView returns a View that contains every write acknowledged before the call.
	ReadView(ctx context.Context) (*state.View, error)
	// StaleView returns the newest View of this node, whatever its age.
	StaleView() *state.View
	// WaitIndex returns a View of at least that index.
	WaitIndex(ctx context.Context, index uint64) (*state.View, error)
	// Propose commits the transaction, or refuses it whole because of a guard.
	Propose(ctx context.Context, txn *statev1.Txn) (state.Result, error)
}

// Config is what every service is made of.
type Config struct {
	Cluster Cluster
	Logger  *slog.Logger     // nil: discards
	Now     func() time.Time // nil: time.Now
	Rand    io.Reader        // source of ids and secrets; nil: crypto/rand
	Keyring *pki.Keyring     // seals secrets; nil: there are none

	roots   *rootQueues
	changes *changeLedger
}

// withDefaults fills what may be left out. Every constructor calls it.
func (cfg Config) withDefaults() Config {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.roots == nil {
		cfg.roots = &rootQueues{}
	}
	if cfg.changes == nil {
		cfg.changes = &changeLedger{}
	}
	return cfg
}

// Caller is who asks, and for which region.
type Caller struct {
	Account, Region string
	ARN, UserID     string
	RequestID       string
}

// caller reads the caller from the request's metadata.
func caller(ctx context.Context) Caller {
	c := Caller{
		Account:   incoming(ctx, metaAccount),
		Region:    incoming(ctx, metaRegion),
		RequestID: incoming(ctx, metaRequestID),
	}
	if c.Account == "" {
		c.Account = defaultAccount
	}
	if c.Region == "" {
		c.Region = defaultRegion
	}
	if c.ARN = incoming(ctx, metaPrincipal); c.ARN != "" {
		c.UserID = incoming(ctx, metaUserID)
		return c
	}
	c.ARN = identity.RootARN(c.Account)
	c.UserID = c.Account
	return c
}

var (
	accountText = regexp.MustCompile(`^[0-9]{12}$`)
	// Regions become DNS labels, names in certificates and parts of keys.
	regionText = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$`)
)

// checkCaller refuses what can be no caller. The gateway sends no such thing,
// but clients of gRPC write the metadata themselves; one record of an impossible
// region would be rejected by every place that builds names from it.
func checkCaller(ctx context.Context) error {
	switch c := caller(ctx); {
	case !accountText.MatchString(c.Account):
		return apierr.BadRequest("Invalid %s: %q is not 12 digits", metaAccount, c.Account)
	case !regionText.MatchString(c.Region):
		return apierr.BadRequest("Invalid %s: %q is not a region", metaRegion, c.Region)
	}
	return nil
}

// key returns the key of one of the caller's records.
func (c Caller) key(t statev1.Type, id string) state.Key {
	return state.Key{Type: t, Account: c.Account, Region: c.Region, ID: id}
}

// incoming returns the last value of a metadata key of the request, or "".
func incoming(ctx context.Context, key string) string {
	values := metadata.ValueFromIncomingContext(ctx, key)
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// setVersion tells the client the version its answer belongs to. There is no
// transport in unit tests, hence the ignored error here and in warn.
func setVersion(ctx context.Context, index uint64) {
	_ = grpc.SetHeader(ctx, metadata.Pairs(metaVersion, strconv.FormatUint(index, 10)))
}

// Bounds of the warnings of one answer: they travel in headers.
const (
	maxWarnings      = 10
	maxWarningLength = 300
)

// warn adds warnings to the answer, the first of many. Call it after update,
// whose function may run several times.
func warn(ctx context.Context, warnings ...string) {
	for i, w := range warnings {
		if i == maxWarnings {
			w = fmt.Sprintf("and %d more", len(warnings)-i)
		}
		_ = grpc.SetHeader(ctx, metadata.Pairs(metaWarning, headerText(w)))
		if i == maxWarnings {
			return
		}
	}
}

// headerText makes a text fit for a header: printable ASCII of a moderate
// length. Anything else would make gRPC drop the header.
func headerText(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r < ' ':
			return ' '
		case r > '~':
			return '?'
		}
		return r
	}, s)
	if len(s) > maxWarningLength {
		s = s[:maxWarningLength-3] + "..."
	}
	return s
}

// view returns the View that a read is answered from: linearizable unless the
// client asked for a stale one, and never older than the index it named.
func view(ctx context.Context, cfg Config) (*state.View, error) {
	if err := checkCaller(ctx); err != nil {
		return nil, err
	}
	var (
		v   *state.View
		err error
	)
	stale := incoming(ctx, metaConsistency) == "stale"
	if !stale {
		if v, err = cfg.Cluster.ReadView(ctx); err != nil {
			return nil, err
		}
	}
	if text := incoming(ctx, metaMinIndex); text != "" {
		index, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, apierr.BadRequest("Invalid %s: %s", metaMinIndex, text)
		}
		if v == nil || v.Index() < index {
			if v, err = cfg.Cluster.WaitIndex(ctx, index); err != nil {
				return nil, err
			}
		}
	}
	if v == nil {
		v = cfg.Cluster.StaleView()
	}
	setVersion(ctx, v.Index())
	return v, nil
}

// A guard is refused only if a writer outside this process's queue got in
// between, so a handful of attempts says that something is badly wrong.
const (
	maxAttempts = 8
	firstPause  = 2 * time.Millisecond
)

// update commits what build makes of a View and returns the index of the
// commit. build may run several times, so it must not keep anything but its
// last result; a nil Txn says that there is nothing to change.
//
// Writers of one root record (the record of the first guard) wait for each
// other here instead of colliding in the log: the View that the winner of the
// queue decides on already holds what the one before it committed.
func update(ctx context.Context, cfg Config, build func(v *state.View) (*statev1.Txn, error)) (uint64, error) {
	if err := checkCaller(ctx); err != nil {
		return 0, err
	}
	pause := firstPause
	for attempt := 1; ; attempt++ {
		v, err := cfg.Cluster.ReadView(ctx)
		if err != nil {
			return 0, err
		}
		index, done, err := attemptUpdate(ctx, cfg, v, build)
		if err != nil {
			return 0, err
		}
		if done {
			setVersion(ctx, index)
			return index, nil
		}
		if attempt == maxAttempts {
			return 0, apierr.Conflict("Unable to complete operation due to concurrent modification. Please try again later.")
		}
		timer := time.NewTimer(pause/2 + mathrand.N(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return 0, ctx.Err()
		case <-timer.C:
		}
		pause *= 2
	}
}

// attemptUpdate proposes once. done is false if a guard was refused.
func attemptUpdate(ctx context.Context, cfg Config, v *state.View, build func(*state.View) (*statev1.Txn, error)) (index uint64, done bool, err error) {
	txn, err := build(v)
	if err != nil {
		setVersion(ctx, v.Index())
		return 0, false, err
	}
	if txn == nil {
		return v.Index(), true, nil
	}
	if len(txn.Guards) > 0 && cfg.roots != nil {
		leave, err := cfg.roots.enter(ctx, state.KeyOf(txn.Guards[0].Key))
		if err != nil {
			return 0, false, err
		}
		defer leave()
		// The writer before this one may have changed what the guards name.
		// Its commit is in the newest View, which is never older than v.
		if newest := cfg.Cluster.StaleView(); newest.Index() > v.Index() && !holds(newest, txn.Guards) {
			v = newest
			if txn, err = build(newest); err != nil {
				setVersion(ctx, newest.Index())
				return 0, false, err
			}
			if txn == nil {
				return newest.Index(), true, nil
			}
		}
	}
	txn.Audit = auditOf(ctx, cfg, v, txn)
	result, err := cfg.Cluster.Propose(ctx, txn)
	if err != nil {
		return 0, false, err
	}
	return result.Index, result.Refused == nil, nil
}

// holds reports whether all guards hold in the View.
func holds(v *state.View, guards []*statev1.Guard) bool {
	for _, g := range guards {
		if v.Get(state.KeyOf(g.Key)).GetModifyIndex() != g.ModifyIndex {
			return false
		}
	}
	return true
}

// guard says that the record must still be as the caller has read it.
func guard(r *statev1.Record) *statev1.Guard {
	return &statev1.Guard{Key: r.Key, ModifyIndex: r.ModifyIndex}
}

// absent says that there must be no record with that key.
func absent(k state.Key) *statev1.Guard {
	return &statev1.Guard{Key: k.Proto()}
}

// rootQueues are the queues of writers, one for each root record that is being
// written. An entry lives as long as somebody is in its queue.
type rootQueues struct {
	mu     sync.Mutex
	queues map[state.Key]*rootQueue
}

type rootQueue struct {
	turn  chan struct{} // capacity 1: full while somebody writes
	users int
}

// enter waits for the caller's turn to write that root; leave ends it.
func (q *rootQueues) enter(ctx context.Context, root state.Key) (leave func(), err error) {
	q.mu.Lock()
	queue := q.queues[root]
	if queue == nil {
		queue = &rootQueue{turn: make(chan struct{}, 1)}
		if q.queues == nil {
			q.queues = make(map[state.Key]*rootQueue)
		}
		q.queues[root] = queue
	}
	queue.users++
	q.mu.Unlock()

	drop := func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if queue.users--; queue.users == 0 {
			delete(q.queues, root)
		}
	}
	select {
	case queue.turn <- struct{}{}:
		return func() { <-queue.turn; drop() }, nil
	case <-ctx.Done():
		drop()
		return nil, ctx.Err()
	}
}

const lowerAlphanumerics = "abcdefghijklmnopqrstuvwxyz0123456789"

// alphanumeric returns n random characters of a-z0-9: the ids of API Gateway.
func (cfg Config) alphanumeric(n int) string {
	return cfg.pick(lowerAlphanumerics, n)
}

// pick returns n random characters of the alphabet.
func (cfg Config) pick(alphabet string, n int) string {
	id := make([]byte, n)
	size := big.NewInt(int64(len(alphabet)))
	for i := range id {
		at, err := rand.Int(cfg.Rand, size)
		if err != nil {
			panic(fmt.Sprintf("random source: %v", err)) // ids that aren't random would collide
		}
		id[i] = alphabet[at.Int64()]
	}
	return string(id)
}

// ec2ID returns an id such as vpc-0123456789abcdef0: 17 hexadecimal digits,
// the first of which is 0 on AWS.
func (cfg Config) ec2ID(prefix string) string {
	var digits [8]byte
	if _, err := io.ReadFull(cfg.Rand, digits[:]); err != nil {
		panic(fmt.Sprintf("random source: %v", err))
	}
	return prefix + "-0" + hex.EncodeToString(digits[:])
}

// epoch returns a time as API Gateway writes it: whole seconds.
func epoch(t time.Time) *float64 {
	seconds := float64(t.Unix())
	return &seconds
}
