package main

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
)

// A process over all the hostile pictures stays below 300 MB.
func TestHostilePeak(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	m := model(t)
	dir, expect := hostilePictures(t)
	file := filepath.Join(t.TempDir(), "peak")
	t.Setenv("EDGE_EMBED_PEAK", file)
	peak := func(args ...string) (int64, result) { // as the process saw it: what the system counts includes this one's
		r := executeChild(t, append(args, "--model", m, "--quiet", "--max-megapixels", "50")...)
		return kilobytes(t, file) << 10, r
	}
	got, r := peak(dir)
	require.Equal(t, cli.ExitSkipped, r.code, r.err)
	wrong, _ := account(t, dir, expect, r)
	require.Empty(t, wrong)
	require.Less(t, got, int64(300e6))

	// A large picture shows: 4 and 3 bytes a pixel.
	large, r := peak(write(t, filepath.Join(t.TempDir(), "large.png"), drawn(t, 4000, 3000, 1)))
	require.Zero(t, r.code, r.err)
	require.Greater(t, large, int64(7*4000*3000))

	// One of 49 megapixels in 16 bits a sample, a file of 400 kB, would take six times as much, and is refused.
	costly, r := peak(write(t, filepath.Join(t.TempDir(), "costly.png"), zeros16(t, 7000)))
	require.Equal(t, cli.ExitFailed, r.code)
	require.Contains(t, r.err, "MB to decode, over the limit of")
	require.Less(t, costly, large/2)
	t.Logf("peak %s over %d files, %s for one of 12 megapixels, %s for one that is refused", cli.Bytes(got), len(expect), cli.Bytes(large), cli.Bytes(costly))
}

// kilobytes reads what a process says that it had at most.
func kilobytes(t *testing.T, file string) (n int64) {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	_, err = fmt.Sscan(string(b), &n)
	require.NoError(t, err)
	return n
}

// zeros16 is a black PNG of 64 bits a pixel.
func zeros16(t *testing.T, side int) []byte {
	var b, idat bytes.Buffer
	chunk := func(kind string, data []byte) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(data)))
		b.Write(n[:])
		data = append([]byte(kind), data...)
		b.Write(data)
		binary.BigEndian.PutUint32(n[:], crc32.ChecksumIEEE(data))
		b.Write(n[:])
	}
	b.WriteString("\x89PNG\r\n\x1a\n")
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(side)), uint32(side))
	chunk("IHDR", append(header, 16, 6, 0, 0, 0))
	z := zlib.NewWriter(&idat)
	row := make([]byte, 1+8*side)
	for range side {
		_, err := z.Write(row)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	chunk("IDAT", idat.Bytes())
	chunk("IEND", nil)
	return b.Bytes()
}

// A folder of a million pictures gives its first row soon, from little memory. They are links to a few files: TMPDIR=/dev/shm
// makes them quickly.
func TestMillionFiles(t *testing.T) {
	if os.Getenv("EDGEJEPA_EXHAUSTIVE") == "" {
		t.Skip("makes a million files: set EDGEJEPA_EXHAUSTIVE=1")
	}
	const n = 1_000_000
	m, dir, file := model(t), t.TempDir(), ""
	for i := range n {
		name := filepath.Join(dir, fmt.Sprintf("IMG_20240101_%07d.png", i*7919%n))
		if i%50_000 == 0 { // ext4 ends at 65000 links
			file = write(t, name, drawn(t, 8, 8, i))
		} else if err := os.Link(file, name); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command(os.Args[0], "--model", m, dir)
	c.Env = append(os.Environ(), "EDGE_EMBED_CHILD=1")
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	begin := time.Now()
	require.NoError(t, c.Start())
	row, err := bufio.NewReader(out).ReadString('\n')
	took := time.Since(begin)
	status, err2 := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid))
	require.NoError(t, errors.Join(err, err2, c.Process.Kill()))
	_ = c.Wait() // it was killed
	require.Contains(t, row, "IMG_20240101_0000000.png")
	var kilo int64
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	_, err = fmt.Sscan(rest, &kilo)
	require.NoError(t, err)
	worked := c.ProcessState.UserTime() + c.ProcessState.SystemTime() // of it: the machine may have more to do
	t.Logf("first row after %v, %v of them at work, peak %s", took, worked, cli.Bytes(kilo<<10))
	require.Less(t, worked, 5*time.Second)
	require.Less(t, kilo<<10, int64(150e6))
	require.Greater(t, kilo<<10, int64(n*20), "the names are in memory")
}
