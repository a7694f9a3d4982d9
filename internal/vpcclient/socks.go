package vpcclient

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
)

// SOCKS version 5 (RFC 1928) with user names (RFC 1929).
const (
	socksVersion = 5
	authVersion  = 1

	methodNone     = 0
	methodUser     = 2
	methodRefused  = 0xff
	commandConnect = 1

	addressIPv4 = 1
	addressName = 3
	addressIPv6 = 4
)

var errVersion = errors.New("not SOCKS version 5")

// readSOCKS reads up to the request and answers what comes before it. Without
// anonymous clients a user name is needed; the password counts for nothing.
func readSOCKS(in *bufio.Reader, out io.Writer, anonymous bool) (demand, error) {
	var d demand
	methods, err := readGreeting(in)
	if err != nil {
		return d, err
	}
	switch {
	case slices.Contains(methods, methodUser):
		if _, err := out.Write([]byte{socksVersion, methodUser}); err != nil {
			return d, fmt.Errorf("write SOCKS method: %w", err)
		}
		if d.user, err = readUser(in); err != nil {
			return d, err
		}
		if _, err := out.Write([]byte{authVersion, 0}); err != nil {
			return d, fmt.Errorf("write SOCKS status: %w", err)
		}
	case anonymous && slices.Contains(methods, methodNone):
		if _, err := out.Write([]byte{socksVersion, methodNone}); err != nil {
			return d, fmt.Errorf("write SOCKS method: %w", err)
		}
	default:
		out.Write([]byte{socksVersion, methodRefused}) // the connection ends anyway
		return d, fail(failUser, "client offers no user name")
	}
	return readRequest(in, d.user)
}

func readGreeting(in *bufio.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, fmt.Errorf("read SOCKS greeting: %w", err)
	}
	if head[0] != socksVersion {
		return nil, errVersion
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(in, methods); err != nil {
		return nil, fmt.Errorf("read SOCKS greeting: %w", err)
	}
	return methods, nil
}

func readUser(in *bufio.Reader) (string, error) {
	version, err := in.ReadByte()
	if err != nil {
		return "", fmt.Errorf("read SOCKS user: %w", err)
	}
	if version != authVersion {
		return "", fmt.Errorf("read SOCKS user: version %d", version)
	}
	user, err := readString(in)
	if err != nil {
		return "", fmt.Errorf("read SOCKS user: %w", err)
	}
	if _, err := readString(in); err != nil {
		return "", fmt.Errorf("read SOCKS password: %w", err)
	}
	return user, nil
}

// readString reads a string with its length in front.
func readString(in *bufio.Reader) (string, error) {
	n, err := in.ReadByte()
	if err != nil {
		return "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(in, b)
	return string(b), err
}

func readRequest(in *bufio.Reader, user string) (demand, error) {
	d := demand{user: user}
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return d, fmt.Errorf("read SOCKS request: %w", err)
	}
	if head[0] != socksVersion {
		return d, errVersion
	}
	var err error
	switch head[3] {
	case addressIPv4:
		d.host, err = readAddr(in, 4)
	case addressIPv6:
		d.host, err = readAddr(in, 16)
	case addressName:
		d.host, err = readString(in)
	default:
		return d, fail(failRequest, "SOCKS address type %d is not known", head[3])
	}
	if err != nil {
		return d, fmt.Errorf("read SOCKS request: %w", err)
	}
	var port [2]byte
	if _, err := io.ReadFull(in, port[:]); err != nil {
		return d, fmt.Errorf("read SOCKS request: %w", err)
	}
	d.port = binary.BigEndian.Uint16(port[:])
	if head[1] != commandConnect {
		return d, fail(failCommand, "SOCKS command %d is not CONNECT", head[1])
	}
	return d, checkTarget(d.host, d.port)
}

func readAddr(in *bufio.Reader, n int) (string, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(in, b); err != nil {
		return "", err
	}
	a, _ := netip.AddrFromSlice(b)
	return a.String(), nil
}

// checkTarget refuses what is neither an address nor a name of DNS, so that
// nothing else is ever looked up or logged.
func checkTarget(host string, port uint16) error {
	if port == 0 {
		return fail(failRequest, "port 0")
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if host == "" || len(host) > 254 {
		return fail(failRequest, "host name of %d bytes", len(host))
	}
	for i := range len(host) {
		switch c := host[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.' && i > 0 && host[i-1] != '.':
		default:
			return fail(failRequest, "host %q is no name", host)
		}
	}
	return nil
}

// socks answers a SOCKS request.
type socks struct{}

func (socks) succeed(w io.Writer, local netip.AddrPort) error {
	_, err := w.Write(reply(0, local))
	return err
}

// Reply codes of RFC 1928 §6.
var socksCodes = map[failureKind]byte{
	failGeneral:     1,
	failUser:        2,
	failUnreachable: 3,
	failNoName:      4,
	failRefused:     5,
	failTimeout:     6,
	failCommand:     7,
	failRequest:     8,
}

func (socks) fail(w io.Writer, err error) {
	if errors.Is(err, errVersion) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return // there is nobody who would understand
	}
	w.Write(reply(socksCodes[kindOf(err)], netip.AddrPort{})) // the connection ends anyway
}

func reply(code byte, local netip.AddrPort) []byte {
	b := []byte{socksVersion, code, 0}
	switch addr := local.Addr().Unmap(); {
	case addr.Is6():
		b = append(append(b, addressIPv6), addr.AsSlice()...)
	case addr.Is4():
		b = append(append(b, addressIPv4), addr.AsSlice()...)
	default:
		b = append(b, addressIPv4, 0, 0, 0, 0)
	}
	return binary.BigEndian.AppendUint16(b, local.Port())
}
