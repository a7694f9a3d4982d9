package fsm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/fsm"
	"github.com/posternhq/postern/controlplane/state"
	apigatewayv1 "github.com/posternhq/postern/proto/postern/apigateway/v1"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

func api(id, description string) *statev1.Record {
	return &statev1.Record{
		Key:   &statev1.Key{Type: statev1.Type_TYPE_REST_API, Account: "1", Region: "r", Id: id},
		Value: &statev1.Record_RestApi{RestApi: &apigatewayv1.RestApi{Id: proto.String(id), Description: proto.String(description)}},
	}
}

func apply(t *testing.T, f *fsm.FSM, index uint64, entry *statev1.Entry) []state.Result {
	t.Helper()
	data, err := proto.Marshal(entry)
	if err != nil {
		t.Fatal(err)
	}
	return f.Apply(&raft.Log{Index: index, Data: data}).([]state.Result)
}

type sink struct {
	bytes.Buffer
	limit             int
	closed, cancelled bool
}

var errFull = errors.New("no space left")

func (s *sink) Write(b []byte) (int, error) {
	if s.limit > 0 && s.Len()+len(b) > s.limit {
		return 0, errFull
	}
	return s.Buffer.Write(b)
}
func (s *sink) ID() string    { return "test" }
func (s *sink) Close() error  { s.closed = true; return nil }
func (s *sink) Cancel() error { s.cancelled = true; return nil }

func filled(t *testing.T) (*fsm.FSM, *state.Store) {
	t.Helper()
	store := state.New()
	f := fsm.New(store, nil)
	entry := &statev1.Entry{}
	for n := range 300 {
		entry.Txns = append(entry.Txns, &statev1.Txn{Puts: []*statev1.Record{api(fmt.Sprint("a", n), strings.Repeat("x", 1000))}})
	}
	for _, r := range apply(t, f, 7, entry) {
		if r.Refused != nil || r.Index != 7 {
			t.Fatalf("result = %v", r)
		}
	}
	return f, store
}

func persist(t *testing.T, f *fsm.FSM, to *sink) error {
	t.Helper()
	s, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	return s.Persist(to)
}

func TestSnapshotRoundTrip(t *testing.T) {
	f, store := filled(t)
	var out sink
	if err := persist(t, f, &out); err != nil || !out.closed {
		t.Fatalf("persist: %v, closed %v", err, out.closed)
	}
	restored := state.New()
	if err := fsm.New(restored, nil).Restore(io.NopCloser(bytes.NewReader(out.Bytes()))); err != nil {
		t.Fatal(err)
	}
	if restored.View().Index() != 7 || restored.View().Hash() != store.View().Hash() {
		t.Errorf("index %d, same hash: %v", restored.View().Index(), restored.View().Hash() == store.View().Hash())
	}
	var again sink
	if err := persist(t, fsm.New(restored, nil), &again); err != nil || !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Errorf("a restored replica writes another snapshot (%v)", err)
	}
}

func TestSnapshotOfFullDisk(t *testing.T) {
	f, _ := filled(t)
	out := sink{limit: 100_000}
	if err := persist(t, f, &out); !errors.Is(err, errFull) || !out.cancelled || out.closed {
		t.Errorf("error %v, cancelled %v, closed %v", err, out.cancelled, out.closed)
	}
}

// Each way to damage a stream is noticed, and the state stays as it was.
func TestBrokenSnapshots(t *testing.T) {
	writer, _ := filled(t)
	var out sink
	if err := persist(t, writer, &out); err != nil {
		t.Fatal(err)
	}
	whole := out.Bytes()
	frames := split(t, whole)
	if len(frames) < 5 {
		t.Fatalf("%d frames: too few for the test", len(frames))
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	broken := map[string][]byte{
		"empty":           nil,
		"no trailer":      join(frames[:len(frames)-1]...),
		"no header":       join(frames[1:]...),
		"a frame missing": join(append(append([][]byte{}, frames[:2]...), frames[3:]...)...),
		"a frame twice":   join(append(append([][]byte{}, frames[:3]...), frames[2:]...)...),
		"two headers":     join(frames[0], join(frames...)),
		"trailing bytes":  append(bytes.Clone(whole), 0),
		"huge frame":      {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"other format": join(append([][]byte{frame(t, &statev1.RaftSnapshotFrame{Frame: &statev1.RaftSnapshotFrame_Header{
			Header: &statev1.RaftSnapshotHeader{Format: 99},
		}})}, frames[1:]...)...),
		"a record of no type": join(frames[0], frame(t, &statev1.RaftSnapshotFrame{Frame: &statev1.RaftSnapshotFrame_Records{
			Records: &statev1.RaftSnapshotRecords{Records: []*statev1.Record{{}}},
		}}), frames[len(frames)-1]),
	}
	for n := 1; n < len(whole); n += len(whole) / 25 {
		broken[fmt.Sprint("cut at ", n)] = whole[:n]
		flipped := bytes.Clone(whole)
		flipped[n] ^= 0x10
		broken[fmt.Sprint("flipped at ", n)] = flipped
	}
	f, store := filled(t)
	before := store.View()
	for name, data := range broken {
		t.Run(name, func(t *testing.T) {
			if err := f.Restore(io.NopCloser(bytes.NewReader(data))); err == nil {
				t.Error("restored")
			}
			if store.View() != before {
				t.Error("the state has changed")
			}
		})
	}
}

func TestUndecodableEntryStops(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the node went on")
		}
	}()
	fsm.New(state.New(), nil).Apply(&raft.Log{Index: 1, Data: []byte{0xff}})
}

func FuzzRead(f *testing.F) {
	store := state.New()
	store.Apply(3, []*statev1.Txn{{Puts: []*statev1.Record{api("a", "x"), api("b", "y")}}})
	var out bytes.Buffer
	if err := fsm.Write(&out, store.View()); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Add(out.Bytes()[:out.Len()/2])
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := state.New()
		if err := fsm.Read(bytes.NewReader(data), s); err != nil {
			if s.View().Index() != 0 {
				t.Error("a refused stream changed the state")
			}
			return
		}
		var again bytes.Buffer
		if err := fsm.Write(&again, s.View()); err != nil {
			t.Error(err)
		}
	})
}

func frame(t *testing.T, f *statev1.RaftSnapshotFrame) []byte {
	t.Helper()
	payload, err := proto.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli)))
	return append(b, payload...)
}

func split(t *testing.T, stream []byte) [][]byte {
	t.Helper()
	var frames [][]byte
	for len(stream) > 0 {
		n := 8 + int(binary.BigEndian.Uint32(stream))
		frames = append(frames, stream[:n])
		stream = stream[n:]
	}
	return frames
}
