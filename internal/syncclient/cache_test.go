package syncclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/internal/sethash"
	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

const domain = syncv1.Domain_DOMAIN_EDGE

// sign is a signature that tests can make and check.
func sign(domain int32, index uint64, setHash []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte(fmt.Sprint("secret ", domain)), index)
	sum := sha256.Sum256(append(b, setHash...))
	return sum[:]
}

func verifySignature(domain int32, index uint64, setHash, signature, _ []byte) error {
	if !bytes.Equal(signature, sign(domain, index, setHash)) {
		return errors.New("not signed by the test")
	}
	return nil
}

// testSeal has keys by name, the last of which seals; it hides what is sealed, and
// no more than that.
type testSeal []string

func (k testSeal) Seal(plain []byte, place string) (string, []byte) {
	id := k[len(k)-1]
	return id, mask([]byte(id + "/" + place + "/" + string(plain)))
}

func (k testSeal) Open(id string, box []byte, place string) ([]byte, error) {
	plain, ok := bytes.CutPrefix(mask(box), []byte(id+"/"+place+"/"))
	if !ok || !slices.Contains(k, id) {
		return nil, errors.New("no such key")
	}
	return plain, nil
}

func mask(b []byte) []byte {
	b = bytes.Clone(b)
	for i := range b {
		b[i] ^= 0x55
	}
	return b
}

// origin is what a server has: it makes verified snapshots.
type origin struct {
	index uint64
	set   map[string]string
	sum   sethash.Hash
}

func newOrigin() *origin { return &origin{set: map[string]string{}} }

func (o *origin) put(name, body string) {
	o.remove(name)
	o.set[name] = body
	o.sum.Add(sethash.ElementOf(name, sha256.Sum256([]byte(body))))
}

func (o *origin) remove(name string) {
	if old, ok := o.set[name]; ok {
		o.sum.Remove(sethash.ElementOf(name, sha256.Sum256([]byte(old))))
		delete(o.set, name)
	}
}

func (o *origin) snapshot(full bool, changed, removed []string) *syncv1.Snapshot {
	sum := o.sum.Sum()
	s := &syncv1.Snapshot{Index: o.index, Full: full, Removed: removed, SetHash: sum[:], Signature: sign(int32(domain), o.index, sum[:])}
	for _, name := range changed {
		hash := sha256.Sum256([]byte(o.set[name]))
		s.Resources = append(s.Resources, &syncv1.Resource{Name: name, Hash: hash[:], Body: []byte(o.set[name])})
	}
	return s
}

// change replaces bodies ("" removes) and returns the step.
func (o *origin) change(bodies map[string]string) *syncv1.Snapshot {
	o.index++
	var changed, removed []string
	for _, name := range slices.Sorted(maps.Keys(bodies)) {
		if bodies[name] == "" {
			o.remove(name)
			removed = append(removed, name)
		} else {
			o.put(name, bodies[name])
			changed = append(changed, name)
		}
	}
	return o.snapshot(false, changed, removed)
}

func (o *origin) full() *syncv1.Snapshot {
	return o.snapshot(true, slices.Sorted(maps.Keys(o.set)), nil)
}

// mirror is an owner: what it has in use, and what it rejects.
type mirror struct {
	index    uint64
	set      map[string]string
	newest   map[string]string
	rejects  func(body string) bool
	installs int
}

func (m *mirror) install(u Update) []Rejection {
	m.installs++
	if u.Index < m.index {
		panic("version goes back")
	}
	m.index = u.Index
	if u.Full {
		m.set, m.newest = map[string]string{}, map[string]string{}
	}
	for _, r := range u.Changed {
		m.newest[r.Name] = string(r.Body)
		if m.rejects == nil || !m.rejects(string(r.Body)) {
			m.set[r.Name] = string(r.Body)
		}
	}
	for _, name := range u.Removed {
		delete(m.set, name)
		delete(m.newest, name)
	}
	var out []Rejection
	for name, body := range m.newest {
		if m.set[name] != body {
			out = append(out, Rejection{name, "rejected"})
		}
	}
	return out
}

func newClient(t testing.TB, dir string, m *mirror) *Client {
	return newSealedClient(t, dir, m, testSeal{"k1"})
}

func newSealedClient(t testing.TB, dir string, m *mirror, keys Sealer) *Client {
	t.Helper()
	c, err := New(Config{
		Domain: domain, Carrier: "e1", Places: []Place{{ID: "e1", Kind: "edge"}}, Dir: dir, Seal: keys, Servers: []string{"nowhere"},
		Dial:   func(string) (grpc.ClientConnInterface, error) { return nil, errors.New("no network") },
		Verify: verifySignature, Install: m.install,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func take(t testing.TB, c *Client, parts ...*syncv1.Snapshot) {
	t.Helper()
	ch, err := c.set.verify(domain, parts, c.cfg.Verify)
	if err == nil {
		err = c.install(ch)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// restart opens the folder again and returns what comes out of it.
func restart(t testing.TB, dir string, rejects func(string) bool) (*Client, *mirror) {
	t.Helper()
	m := &mirror{rejects: rejects}
	c := newClient(t, dir, m)
	if err := c.restore(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.cache != nil {
			_ = c.cache.close()
		}
	})
	return c, m
}

func TestCacheHoldsWhatWasInstalled(t *testing.T) {
	dir := t.TempDir()
	o := newOrigin()
	c, m := restart(t, dir, nil)
	if m.installs != 0 {
		t.Fatal("an empty folder installs nothing")
	}
	o.change(map[string]string{"a": "1", "b": "1", "c": "1"})
	take(t, c, o.full())
	take(t, c, o.change(map[string]string{"a": "2", "b": ""}))
	take(t, c, o.change(nil))
	take(t, c, o.change(map[string]string{"d": "1"}))
	again, m := restart(t, dir, nil)
	if m.installs != 1 || m.index != 4 || !maps.Equal(m.set, o.set) || again.Instance() != c.Instance() || !maps.Equal(again.set.hashes, c.set.hashes) {
		t.Fatalf("%d installs, version %d: %v", m.installs, m.index, m.set)
	}
	// It goes on where it was.
	take(t, again, o.change(map[string]string{"a": "3"}))
	_, m = restart(t, dir, nil)
	if m.index != 5 || !maps.Equal(m.set, o.set) {
		t.Fatalf("version %d: %v", m.index, m.set)
	}
}

// The file is written anew when changes outweigh what they changed, at a cost
// that is spread over the changes.
// On disk nothing is readable; the key that is needed may have come to stand
// behind a newer one; and without it the file is not used but kept, also where
// only the newest version is sealed with it.
func TestCacheIsSealed(t *testing.T) {
	dir := t.TempDir()
	o := newOrigin()
	with := func(keys testSeal) *Client {
		c := newSealedClient(t, dir, &mirror{}, keys)
		if err := c.restore(); err != nil {
			t.Fatal(err)
		}
		if c.cache != nil {
			t.Cleanup(func() { _ = c.cache.close() })
		}
		return c
	}
	c := with(testSeal{"k1"})
	o.change(map[string]string{"key/AKIAEXAMPLE": "signing-material"})
	take(t, c, o.full())
	c = with(testSeal{"k1", "k2"})
	take(t, c, o.change(map[string]string{"key/AKIAOTHER": "signing-material"}))
	data, err := os.ReadFile(filepath.Join(dir, cacheFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"AKIA", "signing-material"} {
		if bytes.Contains(data, []byte(text)) {
			t.Errorf("%q is in the file as it is", text)
		}
	}
	for _, keys := range []testSeal{{"k1"}, {"k2"}, {"k3"}} {
		if c := with(keys); c.Index() != 0 {
			t.Errorf("with %v alone: version %d is used", keys, c.Index())
		}
	}
	if c := with(testSeal{"k2", "k1"}); c.Index() != 2 {
		t.Errorf("with both keys: version %d, not 2", c.Index())
	}
}

func TestCacheStaysSmall(t *testing.T) {
	dir := t.TempDir()
	o := newOrigin()
	c, _ := restart(t, dir, nil)
	for i := range 100 {
		o.put(fmt.Sprint("r", i), "x")
	}
	o.index = 1
	take(t, c, o.full())
	big := string(bytes.Repeat([]byte("y"), 100_000))
	var largest int64
	for i := range 100 {
		take(t, c, o.change(map[string]string{fmt.Sprint("r", i%7): big + fmt.Sprint(i)}))
		largest = max(largest, c.cache.size)
	}
	if info, err := os.Stat(filepath.Join(dir, cacheFile)); err != nil || info.Size() != c.cache.size || largest > 5<<20 {
		t.Fatalf("%v: size %d, largest %d, %v", info, c.cache.size, largest, err)
	}
	_, m := restart(t, dir, nil)
	if m.index != o.index || !maps.Equal(m.set, o.set) {
		t.Fatalf("version %d of %d", m.index, o.index)
	}
}

// A restart brings back the last good form of what was rejected, and only that.
func TestRejectionsSurviveARestart(t *testing.T) {
	bad := func(body string) bool { return body[0] == '!' }
	dir := t.TempDir()
	o := newOrigin()
	c, m := restart(t, dir, bad)
	o.change(map[string]string{"a": "1", "b": "1"})
	take(t, c, o.full())
	take(t, c, o.change(map[string]string{"a": "2"}))
	take(t, c, o.change(map[string]string{"a": "!3", "new": "!1"}))
	take(t, c, o.change(map[string]string{"a": "!4", "b": "2"}))
	want := map[string]string{"a": "2", "b": "2"}
	for range 3 { // restarts change nothing
		if !maps.Equal(m.set, want) {
			t.Fatalf("in use: %v", m.set)
		}
		if c.mu.Lock(); !maps.Equal(c.rejected, map[string]string{"a": "rejected", "new": "rejected"}) {
			t.Fatalf("rejected: %v", c.rejected)
		}
		c.mu.Unlock()
		c, m = restart(t, dir, bad)
	}
	take(t, c, o.change(map[string]string{"a": "5", "new": ""}))
	if _, m = restart(t, dir, bad); !maps.Equal(m.set, map[string]string{"a": "5", "b": "2"}) {
		t.Fatalf("in use: %v", m.set)
	}
}

func TestSnapshotsThatAreRefused(t *testing.T) {
	o := newOrigin()
	o.change(map[string]string{"a": "1", "b": "1"})
	m := &mirror{}
	c := newClient(t, "", m)
	take(t, c, o.full())
	good := func() *syncv1.Snapshot { return o.change(map[string]string{"a": "2"}) }
	for name, broken := range map[string]func() []*syncv1.Snapshot{
		"body does not have its hash": func() []*syncv1.Snapshot {
			s := good()
			s.Resources[0].Body = []byte("3")
			return []*syncv1.Snapshot{s}
		},
		"hash too short": func() []*syncv1.Snapshot {
			s := good()
			s.Resources[0].Hash = s.Resources[0].Hash[:31]
			return []*syncv1.Snapshot{s}
		},
		"something is missing":  func() []*syncv1.Snapshot { s := good(); s.Resources = nil; return []*syncv1.Snapshot{s} },
		"something is too much": func() []*syncv1.Snapshot { s := good(); s.Removed = []string{"b"}; return []*syncv1.Snapshot{s} },
		"a name twice": func() []*syncv1.Snapshot {
			s := good()
			s.Resources = append(s.Resources, s.Resources[0])
			return []*syncv1.Snapshot{s}
		},
		"signature of another index": func() []*syncv1.Snapshot { s := good(); s.Index++; return []*syncv1.Snapshot{s} },
		"no signature":               func() []*syncv1.Snapshot { s := good(); s.Signature = nil; return []*syncv1.Snapshot{s} },
		"of another domain": func() []*syncv1.Snapshot {
			s := good()
			s.Signature = sign(int32(syncv1.Domain_DOMAIN_DNS), s.Index, s.SetHash)
			return []*syncv1.Snapshot{s}
		},
		"from the past": func() []*syncv1.Snapshot {
			old := newOrigin()
			old.change(map[string]string{"a": "0"})
			old.index = 0
			return []*syncv1.Snapshot{old.full()}
		},
	} {
		c.set.index = o.index
		if _, err := c.set.verify(domain, broken(), c.cfg.Verify); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// And none of them left a trace.
	o2 := newOrigin()
	o2.index = 100
	o2.put("a", "1")
	o2.put("b", "1")
	c.set.index = 1
	take(t, c, o2.change(map[string]string{"a": "9"}))
	if !maps.Equal(m.set, map[string]string{"a": "9", "b": "1"}) {
		t.Errorf("%v", m.set)
	}
}

func TestPartsMakeOneSnapshot(t *testing.T) {
	var a assembly
	part := func(index uint64, more bool) *syncv1.Snapshot {
		return &syncv1.Snapshot{Index: index, Full: true, More: more}
	}
	for i, s := range []*syncv1.Snapshot{part(5, true), part(5, true), part(5, false)} {
		whole, err := a.add(s)
		if err != nil || (len(whole) == 3) != (i == 2) {
			t.Fatalf("part %d: %v %v", i, whole, err)
		}
	}
	if _, err := a.add(part(6, true)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.add(part(7, false)); err == nil {
		t.Fatal("parts of two snapshots are none")
	}
}

// A disk that fails costs the cache, not the service: what could not be kept
// must not come back as an older version.
func TestFailingDiskGivesUpTheCache(t *testing.T) {
	dir := t.TempDir()
	o := newOrigin()
	c, m := restart(t, dir, nil)
	o.change(map[string]string{"a": "1"})
	take(t, c, o.full())
	_ = c.cache.f.Close() // every write fails from now on
	take(t, c, o.change(map[string]string{"a": "2"}))
	take(t, c, o.change(map[string]string{"a": "3"}))
	if m.set["a"] != "3" || c.Index() != 3 {
		t.Fatalf("at %d: %v", c.Index(), m.set)
	}
	if _, m := restart(t, dir, nil); m.installs != 0 {
		t.Fatalf("version %d came back", m.index)
	}
}

func TestFreshnessCountsFromWhatWasSaid(t *testing.T) {
	now := 100 * time.Second
	c := newClient(t, "", &mirror{})
	c.cfg.Clock = func() time.Duration { return now }
	if c.Freshness() < time.Hour {
		t.Fatal("nothing is known yet")
	}
	s := &stream{c: c, opened: 100 * time.Second}
	now = 110 * time.Second
	current := func(index uint64, echo time.Duration) { s.current(&syncv1.Current{Index: index, Echo: uint64(echo)}) }
	current(0, 0)               // says nothing about freshness
	current(0, 99*time.Second)  // of another stream
	current(0, 200*time.Second) // from the future
	current(7, 105*time.Second) // of a version that is not installed
	if c.Freshness() < time.Hour {
		t.Fatal("none of these proves anything")
	}
	current(0, 104*time.Second)
	if f := c.Freshness(); f != 6*time.Second {
		t.Fatalf("freshness %v", f)
	}
	// A message that lay around while the process was stopped does not refresh.
	now = 200 * time.Second
	current(0, 103*time.Second)
	if f := c.Freshness(); f != 96*time.Second {
		t.Fatalf("freshness %v", f)
	}
}

func TestRemovedFolderServesNothing(t *testing.T) {
	dir := t.TempDir()
	o := newOrigin()
	c, _ := restart(t, dir, nil)
	o.change(map[string]string{"a": "1"})
	take(t, c, o.full())
	if err := markRemoved(dir); err != nil {
		t.Fatal(err)
	}
	m := &mirror{}
	if err := newClient(t, dir, m).Run(context.Background()); !errors.Is(err, ErrRemoved) || m.installs != 0 {
		t.Fatalf("%v after %d installs", err, m.installs)
	}
}

// Whatever a cache file holds, reading it ends in a verified state or in none,
// and what it says was the end is the end of a readable file.
func FuzzSnapshotDecoder(f *testing.F) {
	dir := f.TempDir()
	o := newOrigin()
	c := newSealedClient(f, dir, &mirror{rejects: func(body string) bool { return body[0] == '!' }}, plainSeal{})
	o.change(map[string]string{"a": "1", "b": "1"})
	take(f, c, o.full())
	take(f, c, o.change(map[string]string{"a": "!2"}))
	take(f, c, o.change(map[string]string{"c": "3", "b": ""}))
	if err := c.cache.close(); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, cacheFile))
	if err != nil {
		f.Fatal(err)
	}
	opened := eachFrame(whole, func(payload []byte) []byte {
		var sealed syncv1.SealedFrame
		if err := proto.Unmarshal(payload, &sealed); err != nil {
			f.Fatal(err)
		}
		return sealed.GetBox()
	})
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(opened)
	f.Add([]byte(cacheMagic))
	f.Add([]byte(cacheMagic + "\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		checkReplay(t, data)
		checkReplay(t, eachFrame(data, func(payload []byte) []byte { return payload }))
		checkReplay(t, eachFrame(data, func(payload []byte) []byte {
			b, err := proto.Marshal(&syncv1.SealedFrame{Box: payload})
			if err != nil {
				t.Fatal(err)
			}
			return b
		}))
	})
}

// plainSeal lets the fuzzer reach what is inside.
type plainSeal struct{}

func (plainSeal) Seal(plain []byte, _ string) (string, []byte)        { return "", plain }
func (plainSeal) Open(_ string, box []byte, _ string) ([]byte, error) { return box, nil }

// eachFrame replaces what frames hold and makes their checksums right, so that
// what is behind them is reached.
func eachFrame(data []byte, payload func([]byte) []byte) []byte {
	out := []byte(cacheMagic)
	for at := len(cacheMagic); at+8 <= len(data); {
		length := int(binary.BigEndian.Uint32(data[at:]))
		if length > len(data)-at-8 {
			return append(out, data[at:]...)
		}
		p := payload(data[at+8 : at+8+length])
		out = binary.BigEndian.AppendUint32(out, uint32(len(p)))
		out = binary.BigEndian.AppendUint32(out, crc32.Checksum(p, castagnoli))
		out = append(out, p...)
		at += 8 + length
	}
	return out
}

func checkReplay(t *testing.T, data []byte) {
	out := replay(bytes.NewReader(data), int64(len(data)), domain, &envelope{plainSeal{}, ""}, verifySignature)
	if out.end > int64(len(data)) || out.set.index == 0 && len(out.set.hashes) > 0 {
		t.Fatalf("end %d of %d, version %d", out.end, len(data), out.set.index)
	}
	if out.set.index == 0 {
		return
	}
	for name, hash := range out.set.hashes {
		if sha256.Sum256(out.bodies[name]) != hash {
			t.Fatalf("%s is not what was signed", name)
		}
	}
	again := replay(bytes.NewReader(data[:out.end]), out.end, domain, &envelope{plainSeal{}, ""}, verifySignature)
	if again.broken != nil || again.set.index != out.set.index || !maps.Equal(again.set.hashes, out.set.hashes) {
		t.Fatalf("cut at its end the file reads differently: %v", again.broken)
	}
	for _, u := range out.updates() {
		(&mirror{newest: map[string]string{}, set: map[string]string{}}).install(u)
	}
}
