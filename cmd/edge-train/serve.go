package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"edgejepa/internal/cli"
	"edgejepa/jepa/report"
)

const (
	serveBytes     = 2 << 20 // what serving the report may take
	serveMost      = 24      // connections at a time; more wait
	serveHeader    = 8 << 10 // bytes of a request's header
	headerTimeout  = 5 * time.Second
	requestTimeout = 15 * time.Second
	answerTimeout  = time.Minute
)

// server shows a run's report to browsers. It answers GET and HEAD of the report and of metrics.jsonl, and nothing else.
type server struct {
	dir     string
	http    *http.Server
	address netip.AddrPort // where it listens
}

// serveAddress resolves --serve's value: a port alone, with or without a colon, is one of this machine only.
func serveAddress(s string) (string, error) {
	if !strings.Contains(s, ":") {
		s = ":" + s
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || port == "" {
		return "", cli.Usagef("--serve %q: give a port such as :8080, or an address and a port such as 0.0.0.0:8080", s)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// serve begins to answer. The address is one that serveAddress gave.
func serve(dir, address string) (*server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, cli.Usagef("--serve: %w", err)
	}
	at, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("--serve: %w", err)
	}
	s := &server{dir: dir, address: at}
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: answerTimeout,
		IdleTimeout: answerTimeout, MaxHeaderBytes: serveHeader, ErrorLog: log.New(io.Discard, "", 0),
	}
	go s.http.Serve(&limited{Listener: l, free: make(chan struct{}, serveMost)})
	return s, nil
}

// close stops answering; answers under way have a moment to end.
func (s *server) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
}

// open says that other machines can reach the server.
func (s *server) open() bool { return !s.address.Addr().Unmap().IsLoopback() }

// announce says where the report is to be seen, and who can see it.
func (s *server) announce(out *cli.Progress) {
	out.Infof("the report is at http://%s/", s.address)
	if s.open() {
		out.Warnf("--serve %s: anybody on the network can see the report, pictures included", s.address)
	}
}

// ours says that a request was meant for this server: its Host is an address or a name of this machine. Any other name is
// somebody's who wants a browser here to read the report to him (DNS rebinding).
func (s *server) ours(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		return s.open() || ip.Unmap().IsLoopback()
	}
	if host == "localhost" {
		return true
	}
	name, err := os.Hostname()
	return err == nil && s.open() && ownName(host, strings.ToLower(name))
}

// homeDomains are those of local networks: nobody can register a name in them.
var homeDomains = []string{"local", "lan", "home", "internal", "localdomain", "home.arpa"}

// ownName says that host is the name of a machine, whole or without its domain or in one of a local network. Its first part
// in any other domain may be somebody else's.
func ownName(host, machine string) bool {
	first, _, _ := strings.Cut(machine, ".")
	if first == "" {
		return false
	}
	domain, in := strings.CutPrefix(host, first+".")
	return host == machine || host == first || in && slices.Contains(homeDomains, domain)
}

// waiting is shown before the first report is there.
const waiting = `<!DOCTYPE html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="3">
<title>edgejepa</title><body style="font:1.1rem/1.5 system-ui,sans-serif;margin:3rem auto;max-width:40ch;padding:0 1rem;color-scheme:light dark"><p>The run has begun. Its report will be here in a moment.</p></body></html>
`

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", report.Policy()+"; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
	if !s.ours(r.Host) {
		http.Error(w, "this server does not go by that name", http.StatusMisdirectedRequest)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	switch r.URL.Path {
	case "/":
		h.Set("Content-Type", "text/html; charset=utf-8")
		s.file(w, r, reportFile)
	case "/" + metricsFile:
		h.Set("Content-Type", "text/plain; charset=utf-8")
		s.file(w, r, metricsFile)
	default:
		http.Error(w, "there is / and /"+metricsFile, http.StatusNotFound)
	}
}

// file answers with a file of the run.
func (s *server) file(w http.ResponseWriter, r *http.Request, name string) {
	f, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		if name == reportFile && errors.Is(err, os.ErrNotExist) {
			w.Header().Set("Cache-Control", "no-store")
			fmt.Fprint(w, waiting)
			return
		}
		http.Error(w, "not there yet", http.StatusNotFound)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		http.Error(w, "cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// limited is a listener with a bound on its connections.
type limited struct {
	net.Listener
	free chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	l.free <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &counted{Conn: c, free: l.free}, nil
}

// counted gives its place back when it is closed for the first time.
type counted struct {
	net.Conn
	free   chan struct{}
	closed atomic.Bool
}

func (c *counted) Close() error {
	err := c.Conn.Close()
	if !c.closed.Swap(true) {
		<-c.free
	}
	return err
}
