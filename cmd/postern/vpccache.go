package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/posternhq/postern/dnsprop/client"
	"github.com/posternhq/postern/internal/vpcclient"
	adminv1 "github.com/posternhq/postern/proto/postern/admin/v1"
)

// clientCache is the cache of a client in a VPC: the one that was named, or what
// the profile in force implies; nil if it keeps nothing.
func clientCache(ctx context.Context, admin adminv1.AdminClient, name string) (*vpcclient.Cache, error) {
	clock := &clusterClock{admin: admin}
	profile, err := clock.read(ctx)
	if err != nil {
		return nil, err
	}
	c := client.OfProfile(profile)
	if name != "" {
		if c, err = client.Parse(name); err != nil {
			return nil, usageError{fmt.Errorf("--client-cache: %w", err)}
		}
	}
	if c.Positive == (client.Rule{}) && c.Negative == (client.Rule{}) {
		return nil, nil
	}
	return &vpcclient.Cache{Keep: c.Keep, Now: clock.now}, nil
}

// clockPatience is how long an answer from a client's cache may wait for the
// cluster to say what time it is.
const clockPatience = time.Second

// clusterClock is the DNS clock, asked of the cluster each time, so that an
// advance ends what is cached. While the cluster can't be asked it goes on as it went.
type clusterClock struct {
	admin adminv1.AdminClient

	mu    sync.Mutex
	dns   time.Time
	asked time.Time // when it showed that
	speed float64
}

// read asks the cluster, and returns the profile in force.
func (c *clusterClock) read(ctx context.Context) (profile string, err error) {
	answer, err := c.admin.GetSettings(ctx, &adminv1.GetSettingsRequest{})
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dns, c.asked, c.speed = time.Unix(0, answer.GetDnsNowUnixNano()), time.Now(), answer.GetSettings().GetDnsSpeed()
	return answer.GetSettings().GetDnsProfile(), nil
}

func (c *clusterClock) now(ctx context.Context) (time.Time, float64) {
	ctx, cancel := context.WithTimeout(ctx, clockPatience)
	defer cancel()
	_, _ = c.read(ctx) // if not, it goes on
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dns.Add(time.Duration(float64(time.Since(c.asked)) * c.speed)), c.speed
}
