package resolvers

import (
	"fmt"
	"strings"
	"time"
)

// mode is what resolvers are told to keep.
type mode struct {
	name string
	// Zero: as the TTLs say.
	min, max, negativeMax time.Duration
	stale                 time.Duration
}

var modes = []mode{
	{name: "plain"},
	{name: "stale", stale: time.Hour},
	{name: "bounds", min: 20 * time.Second, max: 40 * time.Second, negativeMax: 15 * time.Second},
}

// options are those of our resolver.
func (m mode) options() string {
	var all []string
	for _, o := range []struct {
		name string
		d    time.Duration
	}{{"ttl-min", m.min}, {"ttl-max", m.max}, {"negative-ttl-max", m.negativeMax}, {"serve-stale", m.stale}} {
		if o.d > 0 {
			all = append(all, fmt.Sprintf("%s=%d", o.name, int(o.d/time.Second)))
		}
	}
	if len(all) == 0 {
		return m.name
	}
	return m.name + ":" + strings.Join(all, ",")
}

func seconds(d, other time.Duration) int {
	if d == 0 {
		d = other
	}
	return int(d / time.Second)
}

var unbound = software{name: "unbound", program: "unbound", setup: func(s site) ([]string, error) {
	text := fmt.Sprintf(`server:
  directory: "%s"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  verbosity: 1
  do-daemonize: no
  interface: 127.0.0.1@%d
  access-control: 127.0.0.0/8 allow
  do-ip6: no
  do-not-query-localhost: no
  module-config: "iterator"
  num-threads: 1
  qname-minimisation: no
  infra-host-ttl: 1
  infra-keep-probing: yes
  discard-timeout: 86400000
  outbound-msg-retry: 1
  cache-min-ttl: %d
  cache-max-ttl: %d
  cache-max-negative-ttl: %d
`, s.dir, s.port, seconds(s.mode.min, 0), seconds(s.mode.max, 24*time.Hour), seconds(s.mode.negativeMax, 24*time.Hour))
	if s.mode.stale > 0 {
		text += fmt.Sprintf("  serve-expired: yes\n  serve-expired-ttl: %d\n  serve-expired-reply-ttl: 30\n  serve-expired-client-timeout: 1800\n", seconds(s.mode.stale, 0))
	}
	text += fmt.Sprintf("remote-control:\n  control-enable: no\nstub-zone:\n  name: \"%s\"\n  stub-addr: 127.0.0.1@%d\n", apex, s.authority)
	return []string{"-d", "-p", "-c", "unbound.conf"}, s.write("unbound.conf", text)
}}

var knot = software{name: "knot-resolver", program: "kresd", setup: func(s site) ([]string, error) {
	text := fmt.Sprintf(`net.listen('127.0.0.1', %d, { kind = 'dns' })
net.ipv6 = false
trust_anchors.remove('.')
modules.unload('ta_update')
modules.unload('ta_signal_query')
modules.unload('priming')
modules.unload('detect_time_skew')
modules.unload('detect_time_jump')
modules.load('policy')
cache.size = 50 * MB
cache.min_ttl(%d)
cache.max_ttl(%d)
policy.add(policy.suffix(policy.FORWARD('127.0.0.1@%d'), {todname('%s')}))
`, s.port, seconds(s.mode.min, 0), seconds(s.mode.max, 24*time.Hour), s.authority, apex)
	if s.mode.stale > 0 {
		text += "modules.load('serve_stale < cache')\n"
	}
	return []string{"-n", "-c", "kresd.conf", s.dir}, s.write("kresd.conf", text)
}}

var powerdns = software{name: "pdns-recursor", program: "pdns_recursor", setup: func(s site) ([]string, error) {
	text := fmt.Sprintf(`local-address=127.0.0.1
local-port=%d
socket-dir=%s
daemon=no
write-pid=no
threads=1
distributor-threads=0
pdns-distributes-queries=no
loglevel=3
dnssec=off
security-poll-suffix=
disable-packetcache=yes
qname-minimization=no
forward-zones=%s=127.0.0.1:%d
minimum-ttl-override=%d
max-cache-ttl=%d
max-negative-ttl=%d
server-down-max-fails=0
dont-query=
`, s.port, s.dir, apex, s.authority, seconds(s.mode.min, 0), seconds(s.mode.max, 24*time.Hour), seconds(s.mode.negativeMax, 24*time.Hour))
	if s.mode.stale > 0 {
		// In steps of 30 seconds.
		text += fmt.Sprintf("serve-stale-extensions=%d\n", seconds(s.mode.stale, 0)/30)
	}
	return []string{"--config-dir=" + s.dir}, s.write("recursor.conf", text)
}}
