package jsonlines

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
)

// MaxLine is how long a line may be, in bytes, its end included. A longer one
// is answered with an error, and is not held in memory beyond its beginning.
const MaxLine = 16 << 20

// chunkText is how much text is decided in one go while more is there. It
// bounds memory: a few chunks for each processor, and one line more.
const chunkText = 128 << 10

// chunk is a few lines on their way, in order, from reader to writer.
type chunk struct {
	text    []byte
	lines   []span
	answers []byte
	decided chan struct{} // receives one value when answers are complete
}

// chunks are used again: most of them have the same size.
var chunks sync.Pool

func (c *chunk) free() {
	if cap(c.text) <= 4*chunkText {
		c.text, c.lines, c.answers = c.text[:0], c.lines[:0], c.answers[:0]
		chunks.Put(c)
	}
}

// span is one line in a chunk's text; of a line that is too long, its beginning.
type span struct {
	start, end int
	tooLong    bool
}

// Run answers the lines of in until its end. Answers are written in blocks, but
// none is held back while in has nothing more to read: a program may ask one
// question at a time. It returns the error of reading or writing; what is
// wrong with a line is its answer. When ctx ends Run returns at once, and
// leaves behind a Read of in that is under way.
func Run(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := runtime.GOMAXPROCS(0)
	queue := make(chan *chunk, 2*workers) // in order, for the writer
	work := make(chan *chunk)
	readErr := make(chan error, 1)
	go func() {
		readErr <- read(ctx, in, queue, work)
		close(queue)
		close(work)
	}()
	policies := newCache()
	for range workers {
		go func() {
			a := answerer{policies: policies}
			for c := range work {
				a.chunk(c)
				c.decided <- struct{}{}
			}
		}()
	}

	w := bufio.NewWriterSize(out, chunkText)
	for {
		var c *chunk
		var more bool
		select {
		case c, more = <-queue:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !more {
			if err := w.Flush(); err != nil {
				return err
			}
			return <-readErr
		}
		select {
		case <-c.decided:
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, err := w.Write(c.answers); err != nil {
			return err
		}
		c.free()
		if len(queue) == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
}

// read hands out chunks until in ends or fails, or ctx ends.
func read(ctx context.Context, in io.Reader, queue, work chan<- *chunk) error {
	r := bufio.NewReaderSize(in, 2*chunkText)
	for {
		c, _ := chunks.Get().(*chunk)
		if c == nil {
			c = &chunk{decided: make(chan struct{}, 1)}
		}
		err := c.fill(r)
		if len(c.lines) > 0 {
			for _, to := range [...]chan<- *chunk{queue, work} {
				select {
				case to <- c:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// fill reads one line, and as many as are there without waiting.
func (c *chunk) fill(r *bufio.Reader) error {
	for {
		err := c.line(r)
		if err != nil {
			return err
		}
		if len(c.text) >= chunkText || !lineBuffered(r) {
			return nil
		}
	}
}

func lineBuffered(r *bufio.Reader) bool {
	buffered, _ := r.Peek(r.Buffered()) // of what is there: no error
	return bytes.IndexByte(buffered, '\n') >= 0
}

// line reads one line into the chunk. The last one needs no line end.
func (c *chunk) line(r *bufio.Reader) error {
	l := span{start: len(c.text)}
	for {
		part, err := r.ReadSlice('\n')
		if room := MaxLine - (len(c.text) - l.start); len(part) > room {
			l.tooLong = true
			part = part[:room]
		}
		c.text = append(c.text, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if l.end = len(c.text); l.end > l.start {
			c.lines = append(c.lines, l)
		}
		return err
	}
}
