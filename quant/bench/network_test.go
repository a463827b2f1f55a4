package bench

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
	"edgejepa/kernels/kerneltest"
	"edgejepa/quant"
	"edgejepa/vit"
)

// networkTurn is about how long a racer runs before the next does.
const networkTurn = 300 * time.Millisecond

// racer is a network that embeds one decoded picture again and again.
type racer struct {
	name  string
	run   func(n int) (seconds float64)
	n     int
	times []float64 // seconds a picture, a round
}

// networks measures a network alone, one picture at a time, and returns our least seconds a picture. The column of-peak is
// the multiply-adds of its products over what the cores can do in float32 from registers alone, measured in the same
// rounds; products of int8 count like others.
func (b *bench) networks(n *network, threads int) float64 {
	racers := []*racer{b.ours("edge-embed int8", n.fixed, threads), b.ours("edge-embed f32", n.float, threads)}
	if b.python {
		peers := []struct{ name, model string }{{"ONNX Runtime f32", n.onnx}, {"ONNX Runtime dynamic int8", n.int8 + "/dynamic.onnx"},
			{"ONNX Runtime static int8", n.int8 + "/static.onnx"}}
		for _, p := range peers {
			r, stop := b.peer(p.name, p.model, n.size, threads)
			defer stop()
			racers = append(racers, r)
		}
	}
	for _, r := range racers {
		r.run(2)
		r.n = max(1, int(networkTurn.Seconds()/(r.run(2)/2)))
	}
	preset, err := vit.PresetNamed(n.preset)
	require.NoError(b.t, err)
	work, peak := macs(preset.Config(n.size, n.patch)), 0.0
	for range *embeddingRounds {
		for _, r := range racers {
			r.run(1) // caches, after the others
			r.times = append(r.times, r.run(r.n)/float64(r.n))
		}
		peak = max(peak, kerneltest.Peak())
	}
	peak *= float64(min(threads, runtime.NumCPU()))
	fmt.Printf("\nNETWORK ALONE, %s, one picture at a time, threads %d, %d rounds\n", n.name, threads, *embeddingRounds)
	fmt.Printf("  %-40s %9s   %-24s %8s\n", "", "ms each", "time over edge-embed's", "of-peak")
	var over []float64
	for _, r := range racers {
		ratio := spreadOf(ratios(r.times, racers[0].times))
		over = append(over, ratio.median)
		fmt.Printf("  %-40s %9.3f   %5.2f  (%5.2f to %5.2f)  %8.2f\n", r.name, 1e3*spreadOf(r.times).median, ratio.median, ratio.least, ratio.most,
			work/spreadOf(r.times).least/peak)
	}
	if b.python && threads == 1 {
		b.atLeast(n.name+", threads 1: ONNX Runtime f32 takes times ours", over[2], 1.7)
		b.atLeast(n.name+", threads 1: the better int8 of ONNX Runtime takes times ours", min(over[3], over[4]), 1.2)
	}
	return spreadOf(racers[0].times).least
}

// ours is a model in this process.
func (b *bench) ours(name, model string, threads int) *racer {
	m, err := quant.OpenModel(model, vit.ContextPrefix)
	require.NoError(b.t, err)
	pool := parallel.New(threads)
	b.t.Cleanup(pool.Close)
	pass, pix, out := m.NewEmbedder(pool, 1), make([]uint8, m.Config().PixelLen()), make([]float32, m.Config().Dim)
	for i := range pix {
		pix[i] = uint8(uint32(i) * 2654435761 >> 24)
	}
	return &racer{name: name, run: func(n int) float64 {
		begin := time.Now()
		for range n {
			pass.Embed(out, pix, 1)
		}
		return time.Since(begin).Seconds()
	}}
}

// macs counts the multiply-adds of a picture's matrix products.
func macs(c vit.Config) float64 {
	n, d := float64(c.Tokens()), float64(c.Dim)
	block := 4*n*d*d + 2*n*d*float64(c.Hidden()) + 2*n*n*d
	return n*d*float64(c.PatchLen()) + float64(c.Depth)*block
}

// TestMACs adds up tiny 224/16 by hand: 196 patches, and 12 blocks of qkv and proj, the MLP, q·kᵀ and the mix of v.
func TestMACs(t *testing.T) {
	p, err := vit.PresetNamed("tiny")
	require.NoError(t, err)
	require.Equal(t, 196*192*768.0+12*196*(4*192*192+2*192*768+2*196*192), macs(p.Config(224, 16)))
}

// peer is a model in ONNX Runtime, in a process of its own that embeds when told to.
func (b *bench) peer(name, model string, size, threads int) (r *racer, stop func()) {
	cmd := exec.Command(*embeddingPython, "pillow_ort.py", "serve", model, fmt.Sprint(size), "--threads", fmt.Sprint(threads))
	var problems strings.Builder
	cmd.Stderr = &problems
	to, err := cmd.StdinPipe()
	require.NoError(b.t, err)
	pipe, err := cmd.StdoutPipe()
	require.NoError(b.t, err)
	require.NoError(b.t, cmd.Start())
	from := bufio.NewReader(pipe)
	line := func() string {
		text, err := from.ReadString('\n')
		require.NoError(b.t, err, "%s: %s", name, &problems)
		return text
	}
	line() // its name: it is ready
	run := func(n int) (seconds float64) {
		_, err := io.WriteString(to, fmt.Sprintln(n))
		require.NoError(b.t, err)
		_, err = fmt.Sscan(line(), &seconds)
		require.NoError(b.t, err)
		return seconds
	}
	return &racer{name: name, run: run}, func() {
		to.Close()
		_ = cmd.Wait()
	}
}
