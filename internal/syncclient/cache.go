package syncclient

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// The cache is one file: a magic, then frames of (length, CRC-32C, message
// SealedFrame), each a message CachedSnapshot inside. The first snapshot is full,
// those behind it are changes, each with the signature of the set that it leads
// to; so the file may be cut behind any snapshot and is still a verified state.
// Appending a change costs one write and one fsync of that change; the file is
// written anew when the changes outweigh what they changed.
//
// The checksum is over what is sealed: it tells a torn write from a key that is
// not here, which is no reason to drop the file.
const (
	cacheMagic = "postern2"
	// frameLimit is above any message that a stream may carry.
	frameLimit = 256 << 20
	// partSize is how much a frame of a rewritten snapshot holds.
	partSize = 1 << 20
	// slack lets small files grow in peace.
	slack = 1 << 20
	// overgrown is when a file is rewritten although a rejection is outstanding
	// and the rewriting loses the rejected resource's last good form.
	overgrown = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sealer keeps what is on disk from those who have the disk alone.
type Sealer interface {
	// Seal encrypts; it says with which key.
	Seal(plain []byte, place string) (keyID string, box []byte)
	// Open returns what Seal was given, with the same place.
	Open(keyID string, box []byte, place string) ([]byte, error)
}

// errTorn says that what follows in the file is no frame: it ends in the middle
// of a write, or was damaged. errDamaged is one whose end is known.
var (
	errTorn    = errors.New("no valid frame")
	errDamaged = fmt.Errorf("%w: its content was damaged", errTorn)
	// errUnopened is a whole frame that is unreadable with the keys at hand.
	errUnopened = errors.New("sealed frame")
)

type cache struct {
	envelope *envelope
	f        *os.File
	size     int64 // all frames written so far
	base     int64 // size of the full snapshot
}

// envelope seals the frames of one carrier's cache.
type envelope struct {
	sealer Sealer
	place  string // no other carrier's or domain's frames open
}

func (e *envelope) seal(m *syncv1.CachedSnapshot) (*syncv1.SealedFrame, error) {
	plain, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	id, box := e.sealer.Seal(plain, e.place)
	return &syncv1.SealedFrame{KeyId: id, Box: box}, nil
}

func (e *envelope) open(f *syncv1.SealedFrame) (*syncv1.CachedSnapshot, error) {
	plain, err := e.sealer.Open(f.GetKeyId(), f.GetBox(), e.place)
	m := &syncv1.CachedSnapshot{}
	if err == nil {
		err = proto.Unmarshal(plain, m)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnopened, err)
	}
	return m, nil
}

// frame appends a frame to b.
func (e *envelope) frame(b []byte, m *syncv1.CachedSnapshot) ([]byte, error) {
	sealed, err := e.seal(m)
	if err != nil {
		return nil, err
	}
	at := len(b)
	b = append(b, make([]byte, 8)...)
	if b, err = (proto.MarshalOptions{}).MarshalAppend(b, sealed); err != nil {
		return nil, err
	}
	payload := b[at+8:]
	if len(payload) > frameLimit {
		return nil, fmt.Errorf("a frame of %d bytes", len(payload))
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(payload)))
	binary.BigEndian.PutUint32(b[at+4:], crc32.Checksum(payload, castagnoli))
	return b, nil
}

// frames reads frames one by one. end is the offset behind the last one read.
type frames struct {
	r        *bufio.Reader
	envelope *envelope
	end      int64
	max      int64 // size of the file: no frame is longer than what is left
}

func readFrames(r io.Reader, size int64, e *envelope) (*frames, error) {
	f := &frames{r: bufio.NewReaderSize(r, 64<<10), envelope: e, max: size}
	magic := make([]byte, len(cacheMagic))
	if _, err := io.ReadFull(f.r, magic); err != nil || string(magic) != cacheMagic {
		return nil, errTorn
	}
	f.end = int64(len(cacheMagic))
	return f, nil
}

// next returns io.EOF behind the last frame, errTorn for one that is broken, and
// errUnopened for one whose key is not here.
func (f *frames) next() (*syncv1.CachedSnapshot, error) {
	var head [8]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, errTorn
	}
	length := int64(binary.BigEndian.Uint32(head[:]))
	if length > frameLimit || length > f.max-f.end-int64(len(head)) {
		return nil, errTorn
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(f.r, payload); err != nil {
		return nil, errTorn
	}
	f.end += int64(len(head)) + length
	sealed := &syncv1.SealedFrame{}
	if crc32.Checksum(payload, castagnoli) != binary.BigEndian.Uint32(head[4:]) || proto.Unmarshal(payload, sealed) != nil {
		return nil, errDamaged
	}
	return f.envelope.open(sealed)
}

// outlived says, behind a frame that is damaged, that good ones follow. Every
// snapshot is synced before anything is written behind it, so a crash tears the
// end of the file only: the frame had been whole, and was acknowledged. (Large
// changes have several frames, of which a crash may take the first alone; then
// nothing was acknowledged, and this errs on the safe side.)
func (f *frames) outlived() bool {
	for {
		if _, err := f.next(); !errors.Is(err, errDamaged) {
			return err == nil
		}
	}
}

// append writes frames behind the last one.
func (c *cache) append(durable bool, list ...*syncv1.CachedSnapshot) error {
	var b []byte
	for _, m := range list {
		var err error
		if b, err = c.envelope.frame(b, m); err != nil {
			return err
		}
	}
	// What a failed write left behind is overwritten by the next one, and cut off by a restart.
	if _, err := c.f.WriteAt(b, c.size); err != nil {
		return err
	}
	if durable {
		if err := c.f.Sync(); err != nil {
			return err
		}
	}
	c.size += int64(len(b))
	return nil
}

// replaceCache writes a new file beside the old one and puts it in its place.
func replaceCache(dir string, e *envelope, write func(put func(*syncv1.CachedSnapshot) error) error) (_ *cache, err error) {
	c := &cache{envelope: e}
	path := filepath.Join(dir, cacheFile)
	temp := path + ".new"
	if c.f, err = os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = c.f.Close()
			_ = os.Remove(temp)
		}
	}()
	w := bufio.NewWriterSize(c.f, 64<<10)
	if _, err := w.WriteString(cacheMagic); err != nil {
		return nil, err
	}
	c.size = int64(len(cacheMagic))
	var b []byte
	err = write(func(m *syncv1.CachedSnapshot) error {
		var err error
		if b, err = e.frame(b[:0], m); err != nil {
			return err
		}
		c.size += int64(len(b))
		_, err = w.Write(b)
		return err
	})
	if err = errors.Join(err, w.Flush()); err != nil {
		return nil, err
	}
	if err = c.f.Sync(); err != nil {
		return nil, err
	}
	if err = os.Rename(temp, path); err != nil {
		return nil, err
	}
	c.base = c.size
	return c, syncDir(dir)
}

func (c *cache) close() error { return c.f.Close() }

// keep makes a change durable before it is used. Without a folder there is
// nothing to do. If the disk fails, the cache is given up: the next start then
// begins with nothing, which is late, instead of with an old version, which
// would be wrong.
func (c *Client) keep(ch *change) error {
	if c.cfg.Dir == "" || c.cache == nil && !ch.update.Full {
		return nil
	}
	err := c.write(ch)
	if err == nil {
		return nil
	}
	c.cfg.Logger.Error("cache given up", "version", ch.update.Index, "error", err)
	if c.cache != nil {
		_ = c.cache.close()
		c.cache = nil
	}
	if drop := dropCache(c.cfg.Dir); drop != nil {
		return fmt.Errorf("cache: %w", errors.Join(err, drop))
	}
	return nil
}

func (c *Client) write(ch *change) error {
	list := make([]*syncv1.CachedSnapshot, 0, len(ch.parts))
	for _, p := range ch.parts {
		list = append(list, &syncv1.CachedSnapshot{Domain: c.cfg.Domain, Snapshot: p})
	}
	if !ch.update.Full {
		if err := c.cache.append(true, list...); err != nil {
			return err
		}
		return c.compact(ch)
	}
	fresh, err := replaceCache(c.cfg.Dir, c.envelope, func(put func(*syncv1.CachedSnapshot) error) error {
		for _, m := range list {
			if err := put(m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.cache != nil {
		_ = c.cache.close()
	}
	c.cache = fresh
	return nil
}

// compact rewrites the file, if it has grown enough, as one full snapshot under
// the newest signature. It holds one frame at a time in memory.
func (c *Client) compact(ch *change) error {
	if c.cache.size < 3*c.cache.base+slack {
		return nil
	}
	// The last good form of a rejected resource is in the old frames only.
	if c.outstanding() && c.cache.size < 3*c.cache.base+overgrown {
		return nil
	}
	wanted := newSet()
	for name, hash := range c.set.hashes {
		wanted.hashes[name] = hash
	}
	wanted.commit(&change{update: Update{Index: ch.update.Index, Changed: ch.update.Changed, Removed: ch.update.Removed}, sum: ch.sum})
	old := io.NewSectionReader(c.cache.f, 0, c.cache.size)
	fresh, err := replaceCache(c.cfg.Dir, c.envelope, func(put func(*syncv1.CachedSnapshot) error) error {
		in, err := readFrames(old, c.cache.size, c.envelope)
		if err != nil {
			return err
		}
		last := ch.parts[len(ch.parts)-1]
		part, size := &syncv1.Snapshot{Index: last.GetIndex(), Full: true, More: true}, 0
		for {
			m, err := in.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return fmt.Errorf("read back: %w", err)
			}
			for _, r := range m.GetSnapshot().GetResources() {
				hash, ok := wanted.hashes[r.GetName()]
				if !ok || string(hash[:]) != string(r.GetHash()) {
					continue
				}
				delete(wanted.hashes, r.GetName())
				if part.Resources, size = append(part.Resources, r), size+len(r.GetBody()); size < partSize {
					continue
				}
				if err := put(&syncv1.CachedSnapshot{Domain: c.cfg.Domain, Snapshot: part}); err != nil {
					return err
				}
				part, size = &syncv1.Snapshot{Index: last.GetIndex(), Full: true, More: true}, 0
			}
		}
		if len(wanted.hashes) > 0 {
			return fmt.Errorf("%d resources are missing", len(wanted.hashes))
		}
		part.More, part.SetHash, part.Signature, part.Signer = false, last.GetSetHash(), last.GetSignature(), last.GetSigner()
		return put(&syncv1.CachedSnapshot{Domain: c.cfg.Domain, Snapshot: part})
	})
	if err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	_ = c.cache.close()
	c.cache = fresh
	return nil
}

func (c *Client) outstanding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.rejected) > 0
}

// noteRejected remembers which resources are not in use in their newest form, so
// that a restart comes up with the same ones. It is not waited for: what a crash
// loses of it is denied after the restart until the resource is replaced.
func (c *Client) noteRejected(names []string) {
	if err := c.cache.append(false, &syncv1.CachedSnapshot{Domain: c.cfg.Domain, Rejections: true, Rejected: names}); err != nil {
		c.cfg.Logger.Error("note rejections in the cache", "version", c.Index(), "error", err)
	}
}
