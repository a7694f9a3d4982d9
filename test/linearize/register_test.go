package linearize

import (
	"math"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// op is one line of a history: what happened between two instants.
func op(call, returned int64, in Input, out Output) porcupine.Operation {
	in.Key = "k"
	if out.Unknown {
		returned = math.MaxInt64
	}
	return porcupine.Operation{Input: in, Call: call, Output: out, Return: returned}
}

func TestCheck(t *testing.T) {
	write := func(v string) Input { return Input{Kind: Write, Value: v} }
	guarded := func(v string, expected uint64) Input { return Input{Kind: GuardedWrite, Value: v, Expected: expected} }
	read := Input{Kind: Read}
	was := func(v string, version uint64) Output { return Output{Value: v, Version: version} }
	made := func(version uint64) Output { return Output{Version: version} }
	tests := []struct {
		name    string
		history []porcupine.Operation
		want    bool
	}{
		{"nothing", nil, true},
		{"a read of what was written", []porcupine.Operation{op(1, 2, write("a"), made(5)), op(3, 4, read, was("a", 5))}, true},
		{"a stale read", []porcupine.Operation{op(1, 2, write("a"), made(5)), op(3, 4, read, was("", 0))}, false},
		{"an overlapping read may be either", []porcupine.Operation{op(1, 9, write("a"), made(5)), op(3, 4, read, was("", 0)), op(5, 6, read, was("a", 5))}, true},
		{"but not back again", []porcupine.Operation{op(1, 9, write("a"), made(5)), op(3, 4, read, was("a", 5)), op(5, 6, read, was("", 0))}, false},
		{"a lost write", []porcupine.Operation{op(1, 2, write("a"), made(5)), op(3, 4, write("b"), made(6)), op(5, 6, read, was("a", 5))}, false},
		{"a write of unknown outcome may be seen late", []porcupine.Operation{op(1, 0, write("a"), Output{Unknown: true}), op(3, 4, read, was("", 0)), op(5, 6, read, was("a", 7))}, true},
		{"or never", []porcupine.Operation{op(1, 0, write("a"), Output{Unknown: true}), op(3, 4, read, was("", 0))}, true},
		{"but not twice", []porcupine.Operation{op(1, 0, write("a"), Output{Unknown: true}), op(3, 4, read, was("a", 7)), op(5, 6, write("b"), made(8)), op(7, 8, read, was("a", 9))}, false},
		{"a guard that held", []porcupine.Operation{op(1, 2, write("a"), made(5)), op(3, 4, guarded("b", 5), made(6)), op(5, 6, read, was("b", 6))}, true},
		{"a guard that let a stale one through", []porcupine.Operation{op(1, 2, write("a"), made(5)), op(3, 4, guarded("b", 0), made(6))}, false},
		{"a guard that refused without cause", []porcupine.Operation{op(1, 2, write("a"), made(5)), op(3, 4, guarded("b", 5), Output{Refused: true})}, false},
		{"two passed one guard", []porcupine.Operation{op(1, 4, guarded("a", 0), made(5)), op(2, 3, guarded("b", 0), made(6))}, false},
		{"a version that goes back", []porcupine.Operation{op(1, 2, write("a"), made(5)), op(3, 4, write("b"), made(4))}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &Recorder{history: test.history}
			if err := r.Check(time.Second); (err == nil) != test.want {
				t.Errorf("check: %v", err)
			}
		})
	}
}
