package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
	"edgejepa/jepa/report"
)

// On a busy machine looks take long.
func init() { lookGrace = time.Minute }

// A run leaves a report with curves and pictures, which the report command draws anew.
func TestReport(t *testing.T) {
	pictures := drawn(t, 4)
	out := trained(t, pictures, "--eval", pictures)
	text := string(file(t, out, reportFile))
	for _, id := range []string{"chart-judged", "chart-rankme", "chart-consistency", "chart-deviation", "chart-loss", "chart-gradient",
		"chart-rate", "chart-speed", "map", "neighbours", "tokens", "asked", "numbers"} {
		require.Contains(t, text, `id="`+id+`"`)
	}
	require.Contains(t, text, ">finished<")
	require.NotContains(t, text, " data-live>")
	lines, err := report.ReadMetrics(filepath.Join(out, metricsFile))
	require.NoError(t, err)
	last := lines[len(lines)-1]
	require.Greater(t, last.ConsistencyRandom, 0.0)
	require.Greater(t, last.Consistency, 0.0)

	again := filepath.Join(t.TempDir(), "again.html")
	code, _, stderr := command(t, "report", "--run", out, "--out", again)
	require.Zero(t, code, stderr)
	require.Contains(t, string(file(t, again)), `id="map"`)

	// Without the pictures there are the curves.
	require.NoError(t, os.Rename(pictures, pictures+" moved"))
	code, _, stderr = command(t, "report", "--run", out)
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "no pictures")
	text = string(file(t, out, reportFile))
	require.NotContains(t, text, `id="map"`)
	require.Contains(t, text, `id="chart-loss"`)
	require.Contains(t, text, "The pictures cannot be shown")
}

// The report changes nothing that is trained, and can be left out.
func TestReportChangesNoBit(t *testing.T) {
	pictures := drawn(t, 4)
	with, without := trained(t, pictures), trained(t, pictures, "--report=false")
	require.FileExists(t, filepath.Join(with, reportFile))
	require.NoFileExists(t, filepath.Join(without, reportFile))
	require.True(t, string(file(t, with, checkpointFile)) == string(file(t, without, checkpointFile)))
}

// Where memory is short there are curves only.
func TestReportWithLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("the collector works hard to keep a test's process within this little, for minutes on an emulated core")
	}
	pictures, out := drawn(t, 4), filepath.Join(t.TempDir(), "run")
	code, _, stderr := command(t, micro(pictures, out, "--max-steps", "2", "--memory", "22MiB")...)
	require.Zero(t, code, stderr)
	text := string(file(t, out, reportFile))
	require.NotContains(t, text, `id="map"`)
	require.Contains(t, text, "--memory")

	// What serving takes is training's loss.
	p := &plan{memory: memoryPlan{budget: 64 << 20, trainer: 40 << 20}}
	require.NoError(t, p.planReport(reportFlags{serve: ":1"}, ""))
	require.EqualValues(t, serveBytes, p.memory.report)
	args := micro(pictures, out+"2", "--dry-run", "--serve", ":1", "--memory")
	code, _, stderr = command(t, append(args, "22MiB")...)
	require.Equal(t, cli.ExitUsage, code)
	require.Contains(t, stderr, "with --serve")
	code, _, stderr = command(t, append(args, "25MiB")...)
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "2.00 MiB  report")
	p = &plan{memory: memoryPlan{budget: 64 << 20, trainer: 61 << 20, cache: 9 << 18}}
	require.NoError(t, p.planReport(reportFlags{serve: ":1"}, ""))
	require.LessOrEqual(t, p.memory.need()+p.memory.cache, p.memory.budget)

	// The budget that is named will do.
	code, _, stderr = command(t, append(args, "14MiB")...)
	require.Equal(t, cli.ExitUsage, code)
	least := regexp.MustCompile(`raise --memory to (\d+MiB)`).FindStringSubmatch(stderr)
	require.NotNil(t, least, stderr)
	code, _, stderr = command(t, append(args, least[1])...)
	if code != 0 { // it was for training alone: the next one is for both
		require.Contains(t, stderr, "with --serve")
		least = regexp.MustCompile(`raise --memory to (\d+MiB)`).FindStringSubmatch(stderr)
		code, _, stderr = command(t, append(args, least[1])...)
	}
	require.Zero(t, code, stderr)
}

func TestServeAddress(t *testing.T) {
	for given, want := range map[string]string{
		":8080": "127.0.0.1:8080", "8080": "127.0.0.1:8080", "0.0.0.0:80": "0.0.0.0:80", "[::1]:99": "[::1]:99", "localhost:1": "localhost:1",
	} {
		got, err := serveAddress(given)
		require.NoError(t, err, given)
		require.Equal(t, want, got)
	}
	for _, bad := range []string{"", ":", "1:2:3", "host:"} {
		_, err := serveAddress(bad)
		require.Error(t, err, "%q", bad)
	}
	code, _, stderr := command(t, micro(drawn(t, 2), filepath.Join(t.TempDir(), "run"), "--serve", "a:b:c")...)
	require.Equal(t, cli.ExitUsage, code)
	require.Contains(t, stderr, "--serve")
}

// The server gives out two files to whoever asks for them by GET under a name of this machine, and nothing else.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	address, err := serveAddress(":0")
	require.NoError(t, err)
	s, err := serve(dir, address)
	require.NoError(t, err)
	defer s.close()
	require.True(t, s.address.Addr().IsLoopback())
	require.False(t, s.open())
	base := "http://" + s.address.String()
	do := func(method, path string, change func(*http.Request)) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequest(method, base+path, nil)
		require.NoError(t, err)
		if change != nil {
			change(r)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp, string(b)
	}
	resp, text := do("GET", "/", nil)
	require.Equal(t, 200, resp.StatusCode)
	require.Contains(t, text, "will be here in a moment")

	require.NoError(t, os.WriteFile(filepath.Join(dir, reportFile), []byte("<p>page"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, metricsFile), []byte("{}\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, configFile), []byte("secret"), 0o644))
	resp, text = do("GET", "/", nil)
	require.Equal(t, "<p>page", text)
	h := resp.Header
	require.Equal(t, "text/html; charset=utf-8", h.Get("Content-Type"))
	require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'")
	require.Contains(t, h.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	require.NotContains(t, h.Get("Content-Security-Policy"), "http")
	require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
	require.Equal(t, "no-referrer", h.Get("Referrer-Policy"))
	require.Equal(t, "DENY", h.Get("X-Frame-Options"))
	require.Equal(t, "no-cache", h.Get("Cache-Control"))
	etag := h.Get("ETag")
	require.NotEmpty(t, etag)
	resp, _ = do("GET", "/", func(r *http.Request) { r.Header.Set("If-None-Match", etag) })
	require.Equal(t, http.StatusNotModified, resp.StatusCode)
	resp, text = do("HEAD", "/", nil)
	require.Equal(t, 200, resp.StatusCode)
	require.Empty(t, text)
	_, text = do("GET", "/metrics.jsonl", nil)
	require.Equal(t, "{}\n", text)

	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		resp, _ = do(method, "/", nil)
		require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode, method)
		require.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
	}
	for _, path := range []string{"/config.json", "/../" + configFile, "/report.html", "/%2e%2e/x", "//metrics.jsonl", "/debug/pprof/"} {
		resp, text = do("GET", path, nil)
		require.Equal(t, http.StatusNotFound, resp.StatusCode, path)
		require.NotContains(t, text, "secret")
	}
	for host, ok := range map[string]bool{"localhost": true, "localhost:1": true, "127.0.0.1": true, "[::1]:8": true, "evil.example": false, "192.168.1.9": false, "": false} {
		resp, _ = do("GET", "/", func(r *http.Request) {
			r.Host = host
			if host == "" {
				r.Host = "localhost.evil.example"
			}
		})
		require.Equal(t, ok, resp.StatusCode == 200, "host %q", host)
	}

	// Who sends no request is sent away.
	c, err := net.Dial("tcp", s.address.String())
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 4*serveHeader)+"\r\n\r\n")
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	b, _ := io.ReadAll(c)
	require.Contains(t, string(b), "431")
}

// A machine's own names are its first label, what it calls itself, and names of local networks.
func TestOwnName(t *testing.T) {
	for host, ok := range map[string]bool{
		"pi": true, "pi.local": true, "pi.home.arpa": true, "pi.example.org": true,
		"pi.evil.example": false, "pi.local.evil.example": false, "pie": false, "example.org": false, "": false,
	} {
		require.Equal(t, ok, ownName(host, "pi.example.org"), host)
	}
	require.False(t, ownName("", ""))
	require.False(t, ownName(".local", ""))
}

// Only an address that is named is open to others, and then it is said.
func TestServeWarnsWhenOpen(t *testing.T) {
	pictures := drawn(t, 2)
	run := func(address string) string {
		code, _, stderr := command(t, micro(pictures, filepath.Join(t.TempDir(), "run"), "--max-steps", "1", "--serve", address)...)
		require.Zero(t, code, stderr)
		return stderr
	}
	said := run(":0")
	require.Contains(t, said, "the report is at http://127.0.0.1:")
	require.NotContains(t, said, "anybody on the network")
	require.Contains(t, run("0.0.0.0:0"), "anybody on the network")
}
