package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posternhq/postern/dnsprop"
	"github.com/posternhq/postern/dnsprop/resolver"
	"github.com/posternhq/postern/internal/dev"
)

// TestResolverFlag: by flags, by the environment and by a file, each of any number.
func TestResolverFlag(t *testing.T) {
	want := []dnsprop.NamedResolver{
		{Name: "corp", Options: resolver.Options{TTL: resolver.Bounds{Min: 300 * time.Second}, Prefetch: true}},
		{Name: "public", Options: resolver.Options{ServeStale: 24 * time.Hour}},
	}
	texts := []string{"corp:ttl-min=300,prefetch", "public:serve-stale=1d"}
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("resolver:\n- "+strings.Join(texts, "\n- ")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	byFlags := []string{"dev", "--resolver", texts[0], "--resolver", texts[1]}
	byFile := []string{"dev", "--config", file}
	for _, args := range [][]string{byFlags, byFile} {
		if c, err := parse(t, args...); err != nil || !slices.Equal(c.Dev.Resolvers, want) {
			t.Errorf("%q: %+v, %v", args, c.Dev.Resolvers, err)
		}
	}
	t.Setenv("POSTERN_RESOLVER", strings.Join(texts, ";"))
	if c, err := parse(t, "dev"); err != nil || !slices.Equal(c.Dev.Resolvers, want) {
		t.Errorf("by the environment: %+v, %v", c.Dev.Resolvers, err)
	}
	if _, err := parse(t, "dev", "--resolver", "corp:ttl-mni=5"); err == nil || !strings.Contains(err.Error(), `--resolver: resolver "corp": resolver option "ttl-mni=5": want one of ttl, `) {
		t.Errorf("a wrong option: %v", err)
	}
}

// startDev runs `postern dev` with one node on free ports until stop is called.
func startDev(t *testing.T, args ...string) (addresses dev.Addresses, stop func()) {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready.json")
	args = append([]string{
		"dev", "--nodes", "1", "--edges", "1", "--listen-api", "127.0.0.1:0", "--listen-grpc", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0",
		"--listen-dns", "127.0.0.1:0", "--authority-port", "0", "--listen-proxy", "127.0.0.1:0", "--edge-port", "0", "--ready-file", ready,
	}, args...)
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr bytes.Buffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, args, &stdout, &stderr) }()
	stop = func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("dev ended with %d: %s", code, stderr.String())
		}
	}
	for {
		if text, err := os.ReadFile(ready); err == nil {
			if err := json.Unmarshal(text, &addresses); err != nil {
				t.Fatal(err)
			}
			return addresses, stop
		}
		select {
		case code := <-ended:
			t.Fatalf("dev ended with %d before it was ready: %s", code, stderr.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestNamedResolverIsAPlace: it is registered at the address that is told, does
// not block barriers, and is forgotten by a dev that is started without it.
func TestNamedResolverIsAPlace(t *testing.T) {
	data := t.TempDir()
	addresses, stop := startDev(t, "--data", data, "--dns-profile", "aws", "--resolver", "corp:negative-ttl=7")
	api := "http://" + addresses.API
	places := func(api string) map[string]placeJSON {
		t.Helper()
		var out, stderr bytes.Buffer
		if code := run(t.Context(), []string{"status", "--api", api, "-o", "json"}, &out, &stderr); code != 0 {
			t.Fatalf("status: %s", stderr.String())
		}
		var status statusJSON
		if err := json.Unmarshal(out.Bytes(), &status); err != nil {
			t.Fatal(err)
		}
		byID := map[string]placeJSON{}
		for _, p := range status.Places {
			byID[p.ID] = p
		}
		return byID
	}
	if p := places(api)["dns1-corp"]; p.Kind != "resolver" || p.Address == "" || p.Address != addresses.Resolvers["corp"] {
		t.Errorf("place %+v, ready file %v", p, addresses.Resolvers)
	}
	var out, stderr bytes.Buffer
	if code := run(t.Context(), []string{"wait", "--api", api, "--latest", "--for", "dns", "--timeout", "1m", "-o", "json"}, &out, &stderr); code != 0 || !strings.Contains(out.String(), `"reached":true`) {
		t.Errorf("wait: exit %d, %s%s", code, out.String(), stderr.String())
	}
	stop()
	again, stop := startDev(t, "--data", data)
	defer stop()
	if p, there := places("http://" + again.API)["dns1-corp"]; there {
		t.Errorf("a place that is no longer started is still there: %+v", p)
	}
}
