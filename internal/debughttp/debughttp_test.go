package debughttp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestEndpoints(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_test_total", Help: "x"})
	registry.MustRegister(counter)
	counter.Inc()
	var ready atomic.Bool
	s := New(Config{Listener: ln, Gatherer: registry, Ready: func() error {
		if !ready.Load() {
			return errors.New("no snapshot yet")
		}
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()

	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get("http://" + ln.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if code, _ := get("/livez"); code != 200 {
		t.Errorf("/livez = %d", code)
	}
	if code, body := get("/readyz"); code != 503 || !strings.Contains(body, "no snapshot yet") {
		t.Errorf("/readyz before = %d %q", code, body)
	}
	ready.Store(true)
	if code, _ := get("/readyz"); code != 200 {
		t.Errorf("/readyz after = %d", code)
	}
	if _, body := get("/metrics"); !strings.Contains(body, "postern_test_total 1") {
		t.Errorf("/metrics lacks the counter:\n%s", body)
	}
	if code, _ := get("/debug/pprof/cmdline"); code != 200 {
		t.Errorf("/debug/pprof/cmdline = %d", code)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
}
