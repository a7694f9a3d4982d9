package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/posternhq/postern/internal/dev"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
	"google.golang.org/protobuf/proto"
)

type demoCmd struct {
	DNSProfile   string  `name:"dns-profile" default:"aws" help:"How names propagate: instant, fast, aws, hostile."`
	DNSSpeed     float64 `name:"dns-speed" default:"30" help:"DNS minutes in real seconds: 60 runs a minute in a second."`
	DNSSeed      uint64  `name:"dns-seed" default:"1" help:"Seed of the propagation schedule."`
	CrossAccount bool    `name:"cross-account" help:"Play the story of an API that is shared with another account instead."`
}

// Help is shown by `postern demo --help`.
func (demoCmd) Help() string {
	return `Starts a throw-away cluster (3 control-plane nodes, 2 edges, DNS) on free ports of loopback, plays the story of a
private API on it with the AWS SDK for Go, checks every step and removes everything. Exit code 0 only if all checks hold.

Example:
  postern demo
  postern demo --dns-profile fast --dns-speed 1
  postern demo --cross-account`
}

func (c *demoCmd) Run(ctx context.Context, g *globals) error {
	cluster, err := dev.New(dev.Config{
		Nodes: 3, Edges: 2,
		Settings: &adminv1.Settings{
			DnsProfile: proto.String(c.DNSProfile),
			DnsSpeed:   proto.Float64(c.DNSSpeed),
			DnsSeed:    proto.Uint64(c.DNSSeed),
		},
		Logger: g.logger(slog.LevelWarn),
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- cluster.Run(ctx) }()
	started := time.Now()
	select {
	case <-cluster.Ready():
	case err := <-ended:
		return fmt.Errorf("start the cluster: %w", errors.Join(err, ctx.Err()))
	}
	s, err := newStory(ctx, g, cluster.Addresses())
	if err != nil {
		return err
	}
	s.say("3 control-plane nodes, 2 edges and DNS are up after %d ms. Everything listens on loopback only.", time.Since(started).Milliseconds())
	play := s.play
	if c.CrossAccount {
		play = s.playCrossAccount
	}
	storyErr := play()
	s.close()
	stop()
	if err := <-ended; err != nil && storyErr == nil {
		storyErr = fmt.Errorf("stop the cluster: %w", err)
	}
	if storyErr != nil {
		return storyErr
	}
	return s.report()
}
