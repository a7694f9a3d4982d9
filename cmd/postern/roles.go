package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/posternhq/postern/internal/debughttp"
	"github.com/posternhq/postern/internal/lockfile"
	"github.com/posternhq/postern/internal/pki"
)

// roleFlags are common to the roles that run alone.
type roleFlags struct {
	ID       string `required:"" help:"Name of this process in the cluster, kept for ever." placeholder:"NAME"`
	Data     string `required:"" help:"Data folder. Roles on one machine may share it: each keeps to a folder of its own in it." placeholder:"DIR"`
	Admin    string `name:"listen-admin" default:"127.0.0.1:0" help:"Health, metrics and profiles."`
	CertFile string `name:"cert" help:"Certificate of this role; made from the data folder's own CA by default." placeholder:"FILE"`
	KeyFile  string `name:"key" help:"Its key." placeholder:"FILE"`
	CAFile   string `name:"ca" help:"CA certificate to trust." placeholder:"FILE"`
}

// Validate is called by kong.
func (f *roleFlags) Validate() error {
	given := 0
	for _, name := range []string{f.CertFile, f.KeyFile, f.CAFile} {
		if name != "" {
			given++
		}
	}
	if given != 0 && given != 3 {
		return fmt.Errorf("--cert, --key and --ca go together")
	}
	return nil
}

// cacheFlags are common to the roles that keep a snapshot on disk.
type cacheFlags struct {
	CacheKey string `name:"cache-key" help:"Key that seals the snapshot on disk, made if it is absent; by default a file beside the role's key, its name ending in .seal." placeholder:"FILE"`
}

func (f *cacheFlags) seal(identity *pki.Identity) (*pki.Keyring, error) {
	if f.CacheKey != "" {
		return pki.LoadOrCreateKeyring(f.CacheKey)
	}
	k, err := identity.Keyring()
	if err != nil {
		return nil, fmt.Errorf("%w (--cache-key puts this key elsewhere)", err)
	}
	return k, nil
}

// identity loads the role's certificate, or makes one with the data folder's CA.
func (f *roleFlags) identity(role pki.Role) (*pki.Identity, error) {
	if f.CertFile != "" {
		return pki.LoadIdentity(f.CertFile, f.KeyFile, f.CAFile)
	}
	ca, err := pki.LoadOrCreateCA(f.Data)
	if err != nil {
		return nil, err
	}
	return ca.Identity(role, f.ID)
}

// folder makes and locks the role's own folder.
func (f *roleFlags) folder(parts ...string) (dir string, unlock func() error, err error) {
	dir = filepath.Join(append([]string{f.Data}, parts...)...)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("make data folder: %w", err)
	}
	unlock, err = lockfile.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return "", nil, fmt.Errorf("data folder %s: %w", dir, err)
	}
	return dir, unlock, nil
}

func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// serve runs a role beside its admin listener and certificate reloading until ctx ends.
func (f *roleFlags) serve(ctx context.Context, g *globals, identity *pki.Identity, registry *prometheus.Registry, ready func() error, run func(context.Context) error) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.Admin)
	if err != nil {
		return fmt.Errorf("--listen-admin %s: %w", f.Admin, err)
	}
	admin := debughttp.New(debughttp.Config{Listener: ln, Gatherer: registry, Ready: ready})
	logger := g.logger(slog.LevelInfo)
	logger.Info("role starts", "id", f.ID, "admin", ln.Addr().String())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return admin.Run(ctx) })
	group.Go(func() error {
		return identity.Run(ctx, func(err error) { logger.Error("certificate not reloaded", "error", err) })
	})
	group.Go(func() error { return run(ctx) })
	return group.Wait()
}
