package syncclient

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	instanceFile = "instance"
	removedFile  = "removed"
	cacheFile    = "snapshot.cache"
	boundFile    = "max-staleness"
)

// openFolder makes the folder and its instance number, or reads them.
func openFolder(dir string, random io.Reader) (instance string, removed bool, err error) {
	var b [16]byte
	if dir == "" {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return "", false, fmt.Errorf("draw instance number: %w", err)
		}
		return hex.EncodeToString(b[:]), false, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", false, err
	}
	path := filepath.Join(dir, instanceFile)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return "", false, fmt.Errorf("draw instance number: %w", err)
		}
		instance = hex.EncodeToString(b[:])
		if err := writeFile(path, []byte(instance+"\n")); err != nil {
			return "", false, err
		}
	case err != nil:
		return "", false, err
	default:
		if instance = strings.TrimSpace(string(text)); instance == "" {
			return "", false, fmt.Errorf("%s is empty", path)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, removedFile)); err == nil {
		removed = true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", false, err
	}
	return instance, removed, nil
}

// readBound returns the staleness bound that the cluster may hold this folder's
// place to, 0 for none.
func readBound(dir string) (time.Duration, error) {
	if dir == "" {
		return 0, nil
	}
	text, err := os.ReadFile(filepath.Join(dir, boundFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	bound, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", boundFile, err)
	}
	return bound, nil
}

// writeBound replaces what readBound returns.
func writeBound(dir string, bound time.Duration) error {
	if dir == "" {
		return nil
	}
	return writeFile(filepath.Join(dir, boundFile), []byte(bound.String()+"\n"))
}

// markRemoved makes sure that what the folder holds is never served again.
func markRemoved(dir string) error {
	if dir == "" {
		return nil
	}
	if err := writeFile(filepath.Join(dir, removedFile), nil); err != nil {
		return err
	}
	return dropCache(dir)
}

func dropCache(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.Remove(filepath.Join(dir, cacheFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(dir)
}

// writeFile makes a file that is there whole or not at all, also after a crash.
func writeFile(path string, content []byte) error {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp)
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
