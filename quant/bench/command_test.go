package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// command is a way from pictures to vectors, and what it took.
type command struct {
	name string
	kind string // which bar it is held against
	args []string
	env  []string // beside the environment

	wall, cpu []float64 // seconds, a round
	peak      int64     // bytes
	vectors   []float32
}

// commands measures whole commands over a folder.
func (b *bench) commands(section, folder string, n *network, threads int) {
	t, count := fmt.Sprint(threads), pictures(b.t, folder)
	embed := b.program("edge-embed")
	all := []*command{
		{name: "edge-embed int8", args: []string{embed, "--model", n.fixed, "--threads", t, "--format", "f32", "--quiet", folder}},
		{name: "edge-embed f32", args: []string{embed, "--model", n.float, "--threads", t, "--format", "f32", "--quiet", folder}},
	}
	plain := func(kind, name string, args ...string) {
		all = append(all, &command{name: "Go: image/jpeg, " + name, kind: kind,
			args: slices.Concat([]string{b.program("plain"), "-model", n.float, "-threads", t}, args, []string{folder})})
	}
	plain("go, our network", "draw.CatmullRom, our f32")
	plain("go, our network", "draw.BiLinear, our f32", "-scaler", "bilinear")
	plain("go", "draw.CatmullRom, gonum", "-network", "gonum")
	plain("go", "draw.CatmullRom, loops", "-network", "loops")
	if b.python {
		python := func(name, model string, args ...string) {
			all = append(all, &command{name: "Python: " + name, kind: "python", env: []string{"OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"},
				args: slices.Concat([]string{*embeddingPython, "pillow_ort.py", "embed", model, fmt.Sprint(n.size), folder, "--threads", t}, args)})
		}
		python("Pillow, ONNX Runtime f32", n.onnx)
		python("Pillow draft, ONNX Runtime f32", n.onnx, "--draft")
		for _, kind := range []string{"dynamic", "static"} {
			python("Pillow draft, "+kind+" int8", n.int8+"/"+kind+".onnx", "--draft")
		}
	}
	skip, err := regexp.Compile(*embeddingSkip)
	require.NoError(b.t, err, "-embedding.skip")
	ours := all[0]
	all = slices.DeleteFunc(all, func(c *command) bool { return c != ours && *embeddingSkip != "" && skip.MatchString(c.name) })
	for _, c := range all {
		c.run(b, threads) // once for the disk's sake
		c.wall, c.cpu = nil, nil
	}
	for range *embeddingRounds {
		for _, c := range all {
			c.run(b, threads)
		}
	}

	fmt.Printf("\nWHOLE COMMAND, %s: %d pictures, %s, threads %d, %d rounds\n", section, count, n.name, threads, *embeddingRounds)
	fmt.Printf("  %-40s %9s %9s   %-24s %9s %8s %8s\n", "", "seconds", "ms each", "time over edge-embed's", "CPU time", "peak MB", "cosine")
	least := map[string]float64{}
	for _, c := range all {
		wall, ratio, cpu := spreadOf(c.wall), spreadOf(ratios(c.wall, ours.wall)), spreadOf(ratios(c.cpu, ours.cpu))
		same := fmt.Sprintf("%8.5f", leastCosine(c.vectors, ours.vectors, len(ours.vectors)/count))
		if len(c.vectors) != len(ours.vectors) {
			same = fmt.Sprintf("OTHER PICTURES: %d, not %d", len(c.vectors)*count/len(ours.vectors), count)
		}
		fmt.Printf("  %-40s %9.3f %9.2f   %5.2f  (%5.2f to %5.2f)  %9.2f %8.1f %s\n", c.name, wall.median, 1e3*wall.median/float64(count),
			ratio.median, ratio.least, ratio.most, cpu.median, float64(c.peak)/1e6, same)
		if was, seen := least[c.kind]; !seen || ratio.median < was {
			least[c.kind] = ratio.median
		}
	}
	if section == "start" {
		start := spreadOf(ours.wall).median * 1e3
		b.bar(fmt.Sprintf("one picture, threads %d: milliseconds from start to end", threads), start, 50, start < 50)
		return
	}
	where := fmt.Sprintf("%s, threads %d: ", section, threads)
	for _, bar := range []struct {
		kind, name string
		limit      float64
	}{
		{"go", "a Go pipeline takes times ours", 3},
		{"go, our network", "a Go pipeline with our own f32 network takes times ours", 3},
		{"python", "Pillow and ONNX Runtime take times ours", 1},
	} {
		if ratio, measured := least[bar.kind]; measured {
			b.atLeast(where+bar.name, ratio, bar.limit)
		}
	}
	b.bar(where+"peak memory in MB", float64(ours.peak)/1e6, 100, ours.peak > 0 && ours.peak < 100e6)
}

// run runs the command once.
//
// On Linux a process begins with the peak of the one that started it, so this one has to stay small.
func (c *command) run(b *bench, threads int) {
	args := c.args
	if processors := runtime.NumCPU(); b.pinned && threads < processors {
		args = append([]string{"taskset", "-c", fmt.Sprintf("%d-%d", processors-threads, processors-1)}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(cmd.Environ(), c.env...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	begin := time.Now()
	err := cmd.Run()
	wall := time.Since(begin)
	require.NoError(b.t, err, "%q: %s", args, &problems)
	c.wall = append(c.wall, wall.Seconds())
	c.cpu = append(c.cpu, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
	c.peak = max(c.peak, peakBytes(cmd.ProcessState))
	c.vectors = make([]float32, out.Len()/4)
	require.NoError(b.t, binary.Read(&out, binary.LittleEndian, c.vectors))
}

func ratios(of, to []float64) []float64 {
	out := make([]float64, len(of))
	for i := range of {
		out[i] = of[i] / to[i]
	}
	return out
}

// leastCosine is the least cosine between the vectors [n, dim] of two commands, or NaN if they are not as many.
func leastCosine(a, b []float32, dim int) float64 {
	if len(a) != len(b) || len(a) == 0 {
		return math.NaN()
	}
	least := 1.0
	for i := 0; i < len(a); i += dim {
		var ab, aa, bb float64
		for j := range dim {
			x, y := float64(a[i+j]), float64(b[i+j])
			ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
		}
		least = min(least, ab/math.Sqrt(aa*bb))
	}
	return least
}

func TestLeastCosine(t *testing.T) {
	require.Equal(t, 1.0, leastCosine([]float32{3, 4, 0, 2}, []float32{3, 4, 0, 1}, 2))
	require.Equal(t, -1.0, leastCosine([]float32{3, 4, 0, 2}, []float32{3, 4, 0, -1}, 2), "the control")
	require.True(t, math.IsNaN(leastCosine([]float32{1}, []float32{1, 1}, 1)))
	require.True(t, math.IsNaN(leastCosine(nil, nil, 1)))
}

// TestPeak measures a command that holds 50 MB.
func TestPeak(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("dd is to keep its block in memory")
	}
	cmd := exec.Command("dd", "if=/dev/zero", "of=/dev/null", "bs=50000000", "count=1")
	if cmd.Run() != nil {
		t.Skip("there is no dd")
	}
	require.InDelta(t, 50e6, float64(peakBytes(cmd.ProcessState)), 20e6)
}
