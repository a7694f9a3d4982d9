// Package linearize judges recorded histories: could the operations of many
// clients, overlapping as they did, have happened one after the other, each at
// some instant between its call and its answer?
//
// It owns the model of versioned registers, which is what records under guards
// are, and a Recorder. Recorder's methods may be called from many goroutines;
// Check is called after they are done. The verdict is porcupine's. Who the
// clients are, over which interface they talk and what faults are put in their
// way is left to the test that records the history.
package linearize

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// Kind is what an operation does.
type Kind int

// The operations of a register.
const (
	Read Kind = iota
	Write
	// GuardedWrite writes if the register has the version that is expected.
	GuardedWrite
)

// Input is what a client asks for.
type Input struct {
	Key   string
	Kind  Kind
	Value string // written; values are unique within a history
	// Expected is the version a GuardedWrite insists on; 0: never written.
	Expected uint64
}

// Output is what a client was told.
type Output struct {
	// Unknown: the outcome of a write is open. It may take effect at any later
	// time, or never.
	Unknown bool
	Refused bool
	Value   string // read
	Version uint64 // read, or made by the write
}

// Recorder takes down a history.
type Recorder struct {
	epoch time.Time

	mu      sync.Mutex
	history []porcupine.Operation
}

// NewRecorder returns a Recorder of an empty history.
func NewRecorder() *Recorder { return &Recorder{epoch: time.Now()} }

// Call notes that a client asks. The function that it returns notes the answer;
// an operation without an answer that took no effect is noted by not calling it.
func (r *Recorder) Call(client int, in Input) (answered func(Output)) {
	call := int64(time.Since(r.epoch))
	return func(out Output) {
		returned := int64(time.Since(r.epoch))
		if out.Unknown {
			if in.Kind == Read {
				return // a read without an answer says nothing
			}
			returned = math.MaxInt64
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.history = append(r.history, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: returned})
	}
}

// Len returns how many operations were recorded.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.history)
}

// Check returns an error unless the history is linearizable; one that could
// not be judged in time is an error too.
func (r *Recorder) Check(timeout time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range partition(r.history) {
		result := porcupine.CheckOperationsTimeout(model, key, timeout)
		if result != porcupine.Ok {
			name := key[0].Input.(Input).Key
			return fmt.Errorf("register %s, %d operations: linearizable is %s", name, len(key), result)
		}
	}
	return nil
}

// register is the state of one key. Version unset is one that no client knows:
// it was made by a write of unknown outcome.
type register struct {
	value   string
	version uint64
	unset   bool
}

var model = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{register{}} },
	Step: func(s, in, out any) []any {
		return step(s.(register), in.(Input), out.(Output))
	},
}).ToModel()

// step returns the states that the register may be in after the operation;
// none: this operation can't have happened in state s.
func step(s register, in Input, out Output) []any {
	if in.Kind == Read {
		if out.Value != s.value || !s.unset && out.Version != s.version {
			return nil
		}
		return []any{register{value: s.value, version: out.Version}}
	}
	mayHold := in.Kind == Write || s.unset || s.version == in.Expected
	mayFail := in.Kind == GuardedWrite && (s.unset || s.version != in.Expected)
	var next []any
	switch {
	case out.Unknown:
		next = append(next, s)
		if mayHold {
			next = append(next, register{value: in.Value, unset: true})
		}
	case out.Refused:
		if mayFail {
			next = append(next, s)
		}
	default:
		// Versions never go back. Plain writes that shared a log entry share its
		// index; a guard can't pass on a version that its own entry made.
		grows := out.Version > s.version || out.Version == s.version && in.Kind == Write
		if mayHold && (s.unset || grows) {
			next = append(next, register{value: in.Value, version: out.Version})
		}
	}
	return next
}

func partition(history []porcupine.Operation) map[string][]porcupine.Operation {
	keys := make(map[string][]porcupine.Operation)
	for _, op := range history {
		k := op.Input.(Input).Key
		keys[k] = append(keys[k], op)
	}
	return keys
}
