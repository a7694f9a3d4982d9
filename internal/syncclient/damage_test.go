package syncclient

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	syncv1 "github.com/posternhq/postern/proto/postern/sync/v1"
)

// A frame that is damaged in the middle of the file had been synced, and what
// followed was acknowledged: the version before it must not serve again. At the
// end it may as well be a torn write, which nobody has acknowledged.
func TestDamageThatCantBeATornWrite(t *testing.T) {
	for damaged, want := range map[int]uint64{1: 0, 2: 0, 3: 0, 4: 4} {
		dir := t.TempDir()
		o := newOrigin()
		c := newClient(t, dir, &mirror{})
		for i, body := range []string{"1", "2", "3", "4", "5"} {
			step := o.change(map[string]string{"a": body})
			if i == 0 {
				step = o.full()
			}
			ch, err := c.set.verify(domain, []*syncv1.Snapshot{step}, verifySignature)
			if err == nil {
				err = c.install(ch)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := c.cache.close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, cacheFile)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := len(cacheMagic)
		for range damaged {
			at += 8 + int(binary.BigEndian.Uint32(data[at:]))
		}
		data[at+20] ^= 0xff
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		again := newClient(t, dir, &mirror{})
		if err := again.restore(); err != nil {
			t.Fatal(err)
		}
		if again.cache != nil {
			_ = again.cache.close()
		}
		if got := again.Index(); got != want {
			t.Errorf("frame %d damaged: starts with version %d, not %d", damaged, got, want)
		}
	}
}
