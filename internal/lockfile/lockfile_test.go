package lockfile

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestLockExcludes(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	// flock belongs to the open file, so a second one of this process collides too.
	if _, err := Lock(name); !errors.Is(err, ErrLocked) {
		t.Errorf("second Lock = %v, want ErrLocked", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	unlock, err = Lock(name)
	if err != nil {
		t.Errorf("Lock after unlock = %v", err)
	} else if err := unlock(); err != nil {
		t.Error(err)
	}
}
