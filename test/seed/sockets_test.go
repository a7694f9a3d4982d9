package seed_test

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// contains reports whether an address lies in a range, which is ours.
func contains(cidr, address string) bool {
	a, err := netip.ParseAddr(address)
	return err == nil && netip.MustParsePrefix(cidr).Contains(a)
}

// listeners are the TCP addresses that this process listens on, as the kernel
// has them.
func listeners() ([]string, error) {
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(fds) == 0 {
		return nil, fmt.Errorf("list open files: %w", os.ErrNotExist)
	}
	ours := map[string]bool{}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil {
			if inode, ok := strings.CutPrefix(target, "socket:["); ok {
				ours[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	var out []string
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		found, err := listening(table, ours)
		if err != nil && table == "/proc/net/tcp" {
			return nil, err
		}
		out = append(out, found...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// listening reads one of the kernel's tables: columns are slot, local address,
// remote address, state and, tenth, the inode.
func listening(table string, ours map[string]bool) ([]string, error) {
	const listen = "0A"
	f, err := os.Open(table)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		columns := strings.Fields(lines.Text())
		if len(columns) < 10 || columns[3] != listen || !ours[columns[9]] {
			continue
		}
		host, port, _ := strings.Cut(columns[1], ":")
		raw, err := hex.DecodeString(host)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", table, err)
		}
		for word := 0; word+4 <= len(raw); word += 4 { // each word in the machine's order
			binary.NativeEndian.PutUint32(raw[word:], binary.BigEndian.Uint32(raw[word:]))
		}
		n, err := strconv.ParseUint(port, 16, 16)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", table, err)
		}
		ip := net.IP(raw)
		if ip.IsUnspecified() { // on every address, so on the public one too
			ip = net.IPv4(127, 0, 0, 1)
		}
		out = append(out, net.JoinHostPort(ip.String(), strconv.FormatUint(n, 10)))
	}
	return out, lines.Err()
}
