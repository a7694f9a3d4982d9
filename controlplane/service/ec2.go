package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/apierr"
	"github.com/posternhq/postern/controlplane/state"
	"github.com/posternhq/postern/dnsprop/propagation"
	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

// ec2Server implements the actions of Amazon EC2 that private APIs need.
type ec2Server struct {
	ec2v1.UnimplementedEC2Server
	cfg Config
}

// NewEC2 returns the EC2 service.
func NewEC2(cfg Config) ec2v1.EC2Server {
	return &ec2Server{cfg: cfg.withDefaults()}
}

// read begins an action that changes nothing but, if it is the account's first
// in the region, makes its default VPC.
func (s *ec2Server) read(ctx context.Context, dryRun *bool) (*state.View, Caller, error) {
	c := caller(ctx)
	if err := s.ensureDefaults(ctx, c); err != nil {
		return nil, c, err
	}
	v, err := view(ctx, s.cfg)
	if err != nil {
		return nil, c, err
	}
	if dryRun != nil && *dryRun {
		return nil, c, apierr.DryRunSucceeded()
	}
	return v, c, nil
}

// write runs an action that changes something. DryRun ends it where the
// proposal would begin, so it finds every fault that the request would have.
func (s *ec2Server) write(ctx context.Context, dryRun *bool, build func(*state.View, Caller) (*statev1.Txn, error)) error {
	_, err := s.commit(ctx, dryRun, build)
	return err
}

// commit is write with the index of the commit.
func (s *ec2Server) commit(ctx context.Context, dryRun *bool, build func(*state.View, Caller) (*statev1.Txn, error)) (uint64, error) {
	c := caller(ctx)
	if err := s.ensureDefaults(ctx, c); err != nil {
		return 0, err
	}
	return update(ctx, s.cfg, func(v *state.View) (*statev1.Txn, error) {
		txn, err := build(v, c)
		if err == nil && dryRun != nil && *dryRun {
			return nil, apierr.DryRunSucceeded()
		}
		return txn, err
	})
}

// create is write for an action that makes something: a repetition with the same
// token (ClientToken where EC2 has one, else idempotency_key in the metadata)
// gets the first answer. build fills in the answer along with the Txn.
func (s *ec2Server) create(ctx context.Context, operation, token string, dryRun *bool, req, answer proto.Message, build func(*state.View, Caller) (*statev1.Txn, error)) error {
	if token == "" {
		token = incoming(ctx, metaIdempotency)
	}
	if n := len(token); n > maxToken {
		return invalidValue("Value for parameter clientToken is invalid. It has %d characters, at most %d are allowed.", n, maxToken)
	}
	return s.write(ctx, dryRun, func(v *state.View, c Caller) (*statev1.Txn, error) {
		t := createToken(c, operation, token, req)
		proto.Reset(answer)
		if again, err := t.answered(s.cfg, v, answer); again || err != nil {
			return nil, err
		}
		txn, err := build(v, c)
		if err != nil {
			return nil, err
		}
		t.remember(s.cfg, v, txn, answer)
		return txn, nil
	})
}

// quiet is a context in which nothing is told to the client: for the steps of
// an action that commits more than once, whose answer has one version.
func quiet(ctx context.Context) context.Context {
	method, _ := grpc.Method(ctx)
	return grpc.NewContextWithServerTransportStream(ctx, quietStream(method))
}

// quietStream is the transport of a method that says nothing.
type quietStream string

func (q quietStream) Method() string             { return string(q) }
func (quietStream) SetHeader(metadata.MD) error  { return nil }
func (quietStream) SendHeader(metadata.MD) error { return nil }
func (quietStream) SetTrailer(metadata.MD) error { return nil }

// dnsNow is the DNS clock's time, which endpoint states live by.
func dnsNow(cfg Config, v *state.View) time.Time {
	return propagation.ClockOf(v.Settings().GetDnsClock()).Now(cfg.Now())
}

// vpcWrite collects what one action changes inside one VPC. The VPC's root
// record is guarded and put again, so two writers of one VPC can't both commit
// what they decided on the same View.
type vpcWrite struct {
	cfg  Config
	view *state.View
	key  state.Key // of the VPC
	// vpc is the action's own copy of the root, to change at will.
	vpc *statev1.Vpc
	txn *statev1.Txn
}

// openVPC begins a write in the VPC. What it finds expired there goes with it.
func openVPC(cfg Config, v *state.View, c Caller, id string) (*vpcWrite, error) {
	r, err := findVPC(v, c, id)
	if err != nil {
		return nil, err
	}
	w := &vpcWrite{
		cfg: cfg, view: v, key: state.KeyOf(r.GetKey()), vpc: proto.CloneOf(r.GetVpc()),
		txn: &statev1.Txn{Guards: []*statev1.Guard{guard(r)}},
	}
	for e := range v.List(statev1.Type_TYPE_VPC_ENDPOINT, c.Account, c.Region, "") {
		if e.GetVpcEndpoint().GetEndpoint().GetVpcId() == id && endpointGone(cfg, v, e.GetVpcEndpoint()) {
			w.txn.Deletes = append(w.txn.Deletes, e.GetKey())
		}
	}
	return w, nil
}

// id is the VPC's id.
func (w *vpcWrite) id() string { return w.key.ID }

// sibling returns the key of a record of the VPC's account and region.
func (w *vpcWrite) sibling(t statev1.Type, id string) state.Key {
	return state.Key{Type: t, Account: w.key.Account, Region: w.key.Region, ID: id}
}

// child returns the key of a record inside the VPC.
func (w *vpcWrite) child(t statev1.Type, id string) state.Key {
	return w.sibling(t, w.id()+"/"+id)
}

// put adds a record with one of the messages that EC2 stores.
func (w *vpcWrite) put(key state.Key, value proto.Message) {
	w.txn.Puts = append(w.txn.Puts, ec2Record(key, value))
}

// open returns the write's own copy of a record, to change at will: it is among
// the puts. There must be such a record.
func (w *vpcWrite) open(key state.Key) *statev1.Record {
	for _, r := range w.txn.Puts {
		if state.KeyOf(r.GetKey()) == key {
			return r
		}
	}
	r := proto.CloneOf(w.view.Get(key))
	w.add(r)
	return r
}

// drop deletes a record, also one that the write has opened: the state applies
// deletes before puts.
func (w *vpcWrite) drop(key *statev1.Key) {
	w.txn.Deletes = append(w.txn.Deletes, key)
	w.txn.Puts = slices.DeleteFunc(w.txn.Puts, func(r *statev1.Record) bool { return state.KeyOf(r.GetKey()) == state.KeyOf(key) })
}

// add puts a finished record; nil is none.
func (w *vpcWrite) add(r *statev1.Record) {
	if r != nil {
		w.txn.Puts = append(w.txn.Puts, r)
	}
}

// done returns the Txn, the root record included.
func (w *vpcWrite) done() *statev1.Txn {
	w.put(w.key, w.vpc)
	return w.txn
}

func ec2Record(key state.Key, value proto.Message) *statev1.Record {
	r := &statev1.Record{Key: key.Proto()}
	switch m := value.(type) {
	case *statev1.Vpc:
		r.Value = &statev1.Record_Vpc{Vpc: m}
	case *ec2v1.Subnet:
		r.Value = &statev1.Record_Subnet{Subnet: m}
	case *statev1.SecurityGroup:
		r.Value = &statev1.Record_SecurityGroup{SecurityGroup: m}
	case *statev1.VpcEndpoint:
		r.Value = &statev1.Record_VpcEndpoint{VpcEndpoint: m}
	case *ec2v1.NetworkInterface:
		r.Value = &statev1.Record_NetworkInterface{NetworkInterface: m}
	case *statev1.Token:
		r.Value = &statev1.Record_Token{Token: m}
	default:
		panic(fmt.Sprintf("no record holds a %T", value))
	}
	return r
}

// An idKind is a sort of EC2 id: how one looks, and what is said of a bad one.
type idKind struct {
	prefix string
	// Error codes.
	notFound, malformed string
	// noun is what the message about a missing one calls it.
	noun string
	// malformedText is the message about a malformed one; its only verb is the id.
	malformedText string
}

var (
	idVPC = idKind{"vpc-", "InvalidVpcID.NotFound", "InvalidVpcID.Malformed",
		"vpc ID", `Invalid id: "%s"`}
	idSubnet = idKind{"subnet-", "InvalidSubnetID.NotFound", "InvalidSubnetID.Malformed",
		"subnet ID", `Invalid id: "%s" (expecting "subnet-...")`}
	idGroup = idKind{"sg-", "InvalidGroup.NotFound", "InvalidGroupId.Malformed",
		"security group", `Invalid id: "%s" (expecting "sg-...")`}
	idRule = idKind{"sgr-", "InvalidSecurityGroupRuleId.NotFound", "InvalidSecurityGroupRuleId.Malformed",
		"security group rule ID", `Invalid id: "%s" (expecting "sgr-...")`}
	idEndpoint = idKind{"vpce-", "InvalidVpcEndpointId.NotFound", "InvalidVpcEndpointId.Malformed",
		"Vpc Endpoint Id", `Invalid Id: "%s" (expecting "vpce-...")`}
	idInterface = idKind{"eni-", "InvalidNetworkInterfaceID.NotFound", "InvalidNetworkInterfaceID.Malformed",
		"networkInterface ID", `Invalid id: "%s" (expecting "eni-...")`}
	idRouteTable = idKind{"rtb-", "InvalidRouteTableID.NotFound", "InvalidRouteTableId.Malformed",
		"routeTable ID", `Invalid id: "%s" (expecting "rtb-...")`}
	idPrefixList = idKind{"pl-", "InvalidPrefixListID.NotFound", "InvalidPrefixListId.Malformed",
		"prefix list ID", `Invalid id: "%s" (expecting "pl-...")`}
	idNetworkACL = idKind{"acl-", "InvalidNetworkAclID.NotFound", "InvalidNetworkAclId.Malformed",
		"networkAcl ID", `Invalid id: "%s" (expecting "acl-...")`}
)

var hexDigits = regexp.MustCompile(`^(?:[0-9a-f]{8}|[0-9a-f]{17})$`)

// check complains about an id that cannot be one.
func (k idKind) check(id string) error {
	digits, ok := strings.CutPrefix(id, k.prefix)
	if !ok || !hexDigits.MatchString(digits) {
		return apierr.New(apierr.KindInvalid, k.malformed, k.malformedText, id)
	}
	return nil
}

// missing says that a thing, or several, do not exist.
func (k idKind) missing(ids ...string) error {
	if len(ids) == 1 {
		return apierr.New(apierr.KindNotFound, k.notFound, "The %s '%s' does not exist", k.noun, ids[0])
	}
	return apierr.New(apierr.KindNotFound, k.notFound, "The %ss '%s' do not exist", k.noun, strings.Join(ids, ", "))
}

func missingParameter(name string) error {
	return apierr.New(apierr.KindInvalid, "MissingParameter", "The request must contain the parameter %s", name)
}

// required complains about the first of (name, value) pairs without a value.
func required(pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			return missingParameter(pairs[i])
		}
	}
	return nil
}

func invalidParameter(format string, args ...any) error {
	return apierr.New(apierr.KindInvalid, "InvalidParameter", format, args...)
}

func invalidValue(format string, args ...any) error {
	return apierr.New(apierr.KindInvalid, "InvalidParameterValue", format, args...)
}

func invalidCombination(format string, args ...any) error {
	return apierr.New(apierr.KindInvalid, "InvalidParameterCombination", format, args...)
}

func dependencyViolation(format string, args ...any) error {
	return apierr.New(apierr.KindConflict, "DependencyViolation", format, args...)
}

// derivedID is the id of something that every account or VPC has exactly one
// of: a function of its owner, so that it needs no record.
func derivedID(prefix string, of ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(append(of, prefix), "\x00")))
	return prefix + "-0" + hex.EncodeToString(sum[:8])
}

// timestamp is a time as EC2 writes it.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
