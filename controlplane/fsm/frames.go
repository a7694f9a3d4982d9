package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/posternhq/postern/controlplane/state"
	statev1 "github.com/posternhq/postern/proto/postern/state/v1"
)

const (
	format = 1
	// batchBytes is the size from which a batch of records is written out: a
	// bit flip costs one frame's worth of searching, not memory for a whole state.
	batchBytes = 64 << 10
	// maxFrame bounds what a reader accepts; the largest record is far below.
	maxFrame    = 64 << 20
	frameHeader = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCorrupt is wrapped by Read when the stream is not what Write wrote.
var ErrCorrupt = errors.New("corrupt raft snapshot")

// Write writes the View as a stream of frames.
func Write(w io.Writer, v *state.View) error {
	err := writeFrame(w, &statev1.RaftSnapshotFrame{Frame: &statev1.RaftSnapshotFrame_Header{
		Header: &statev1.RaftSnapshotHeader{Format: format, Index: v.Index()},
	}})
	if err != nil {
		return err
	}
	batch := &statev1.RaftSnapshotRecords{}
	flush := func() error {
		if len(batch.GetRecords()) == 0 {
			return nil
		}
		err := writeFrame(w, &statev1.RaftSnapshotFrame{Frame: &statev1.RaftSnapshotFrame_Records{Records: batch}})
		batch.Records = batch.GetRecords()[:0]
		return err
	}
	var count uint64
	size := 0
	for r := range v.Records() {
		batch.Records = append(batch.GetRecords(), r)
		count++
		if size += proto.Size(r); size >= batchBytes {
			if err := flush(); err != nil {
				return err
			}
			size = 0
		}
	}
	if err := flush(); err != nil {
		return err
	}
	return writeFrame(w, &statev1.RaftSnapshotFrame{Frame: &statev1.RaftSnapshotFrame_Trailer{
		Trailer: &statev1.RaftSnapshotTrailer{Records: count},
	}})
}

func writeFrame(w io.Writer, f *statev1.RaftSnapshotFrame) error {
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(make([]byte, frameHeader), f)
	if err != nil {
		return fmt.Errorf("marshal frame: %w", err)
	}
	payload := b[frameHeader:]
	if len(payload) > maxFrame {
		return fmt.Errorf("a frame of %d bytes is above the limit of %d", len(payload), maxFrame)
	}
	binary.BigEndian.PutUint32(b[0:4], uint32(len(payload)))
	binary.BigEndian.PutUint32(b[4:8], crc32.Checksum(payload, castagnoli))
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// Read replaces the store's state by the stream's. Unless the stream is whole,
// down to its trailer and the number of records in it, the store stays as it is.
func Read(r io.Reader, store *state.Store) error {
	first, err := readFrame(r)
	if err != nil {
		return fmt.Errorf("raft snapshot header: %w", err)
	}
	header := first.GetHeader()
	if header == nil {
		return fmt.Errorf("%w: it does not begin with a header", ErrCorrupt)
	}
	if header.GetFormat() != format {
		return fmt.Errorf("raft snapshot format %d is unknown", header.GetFormat())
	}
	return store.Restore(header.GetIndex(), func(yield func(*statev1.Record, error) bool) {
		if err := readRecords(r, yield); err != nil {
			yield(nil, err)
		}
	})
}

// readRecords yields what lies between header and trailer.
func readRecords(r io.Reader, yield func(*statev1.Record, error) bool) error {
	var count uint64
	for n := 1; ; n++ {
		frame, err := readFrame(r)
		if err != nil {
			return fmt.Errorf("frame %d: %w", n, err)
		}
		switch f := frame.GetFrame().(type) {
		case *statev1.RaftSnapshotFrame_Records:
			for _, record := range f.Records.GetRecords() {
				count++
				if !yield(record, nil) {
					return nil
				}
			}
		case *statev1.RaftSnapshotFrame_Trailer:
			if f.Trailer.GetRecords() != count {
				return fmt.Errorf("%w: %d records, the trailer says %d", ErrCorrupt, count, f.Trailer.GetRecords())
			}
			if n, _ := io.ReadFull(r, make([]byte, 1)); n > 0 {
				return fmt.Errorf("%w: bytes after the trailer", ErrCorrupt)
			}
			return nil
		default:
			return fmt.Errorf("%w: frame %d is of a kind that does not belong there", ErrCorrupt, n)
		}
	}
}

func readFrame(r io.Reader) (*statev1.RaftSnapshotFrame, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, noEOF(err))
	}
	length := binary.BigEndian.Uint32(head[0:4])
	if length > maxFrame {
		return nil, fmt.Errorf("%w: a frame of %d bytes", ErrCorrupt, length)
	}
	// The buffer grows with what arrives: a forged length alone costs nothing.
	var payload bytes.Buffer
	if _, err := io.CopyN(&payload, r, int64(length)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, noEOF(err))
	}
	if crc32.Checksum(payload.Bytes(), castagnoli) != binary.BigEndian.Uint32(head[4:8]) {
		return nil, fmt.Errorf("%w: checksum mismatch", ErrCorrupt)
	}
	frame := &statev1.RaftSnapshotFrame{}
	if err := proto.Unmarshal(payload.Bytes(), frame); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return frame, nil
}

// noEOF makes every end of the stream before its trailer unexpected.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
