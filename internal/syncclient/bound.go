package syncclient

import "time"

// The leader of the cluster takes a silent place with a staleness bound for one
// that denies, once the bound is over. It goes by the bound that the place
// registered last, so a place that was started with a longer one, or none, must
// not serve what it has before the cluster knows: the folder remembers the
// shortest bound that may be registered.

// bound is the shortest staleness bound of the places, 0 for none.
func (c *Client) bound() time.Duration {
	var shortest time.Duration
	for _, p := range c.cfg.Places {
		if p.MaxStaleness > 0 && (shortest == 0 || p.MaxStaleness < shortest) {
			shortest = p.MaxStaleness
		}
	}
	return shortest
}

// outgrown says that the cluster may go by a shorter bound than this process.
func (c *Client) outgrown() bool {
	return c.promised > 0 && (c.bound() == 0 || c.bound() > c.promised)
}

// promise notes a shorter bound before it is registered.
func (c *Client) promise() error {
	if bound := c.bound(); bound > 0 && (c.promised == 0 || bound < c.promised) {
		return c.setPromised(bound)
	}
	return nil
}

// registered notes that the cluster goes by the bound of this process now: a
// server says nothing of use before.
func (c *Client) registered() {
	if c.promised == c.bound() {
		return
	}
	if err := c.setPromised(c.bound()); err != nil {
		c.cfg.Logger.Warn("note the staleness bound", "error", err) // the shorter one goes on to hold
	}
}

func (c *Client) setPromised(bound time.Duration) error {
	if err := writeBound(c.cfg.Dir, bound); err != nil {
		return err
	}
	c.promised = bound
	return nil
}
