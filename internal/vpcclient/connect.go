package vpcclient

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// maxRequest bounds a CONNECT request with its headers.
const maxRequest = 16 << 10

// readConnect reads a CONNECT request (RFC 9110 §9.3.6).
func readConnect(in *bufio.Reader, anonymous bool) (demand, error) {
	var d demand
	// The reader must not take more than the head: what follows is the client's
	// first data.
	head, err := readHead(in)
	if err != nil {
		return d, err
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil {
		return d, fail(failRequest, "read CONNECT request: %w", err)
	}
	if r.Method != http.MethodConnect {
		return d, fail(failCommand, "method %s: this proxy knows only CONNECT, which is for https URLs", r.Method)
	}
	host, port, err := net.SplitHostPort(r.RequestURI)
	if err != nil {
		return d, fail(failRequest, "CONNECT %q: want host:port", r.RequestURI)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return d, fail(failRequest, "CONNECT %q: no port", r.RequestURI)
	}
	d.host, d.port = host, uint16(n)
	if err := checkTarget(d.host, d.port); err != nil {
		return d, err
	}
	d.user, err = basicUser(r.Header.Get("Proxy-Authorization"))
	if err != nil {
		return d, err
	}
	if d.user == "" && !anonymous {
		return d, fail(failUser, "the user name of the proxy says where the client is: VPC[/SUBNET[/SG+SG]], internet or onprem[/VPC]")
	}
	return d, nil
}

func readHead(in *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := in.ReadSlice('\n')
		b.Write(line)
		if b.Len() > maxRequest {
			return "", fail(failRequest, "CONNECT request of more than %d bytes", maxRequest)
		}
		if err != nil {
			return "", fail(failRequest, "read CONNECT request: %w", err)
		}
		if len(strings.TrimRight(string(line), "\r\n")) == 0 {
			return b.String(), nil
		}
	}
}

// basicUser is the user name of basic authentication (RFC 7617).
func basicUser(value string) (string, error) {
	if value == "" {
		return "", nil
	}
	scheme, code, _ := strings.Cut(value, " ")
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(code))
	if !strings.EqualFold(scheme, "Basic") || err != nil {
		return "", fail(failUser, "proxy authorization is not Basic")
	}
	user, _, _ := strings.Cut(string(plain), ":")
	return user, nil
}

// connect answers a CONNECT request.
type connect struct{}

func (connect) succeed(w io.Writer, _ netip.AddrPort) error {
	_, err := io.WriteString(w, "HTTP/1.1 200 Connection established\r\n\r\n")
	return err
}

func (connect) fail(w io.Writer, err error) {
	status, more := http.StatusBadGateway, ""
	switch kindOf(err) {
	case failUser:
		status, more = http.StatusProxyAuthRequired, "Proxy-Authenticate: Basic realm=\"postern\"\r\n"
	case failCommand:
		status, more = http.StatusMethodNotAllowed, "Allow: CONNECT\r\n"
	case failRequest:
		status = http.StatusBadRequest
	case failTimeout:
		status = http.StatusGatewayTimeout
	}
	text := err.Error() + "\n"
	fmt.Fprintf(w, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n%sConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(text), more, text)
}
