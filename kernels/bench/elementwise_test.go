package bench

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"edgejepa/fp"
	"edgejepa/internal/noise"
	"edgejepa/kernels"
	"edgejepa/kernels/fixed"
	"edgejepa/kernels/i8"
	"edgejepa/kernels/internal/peak"
)

var testAdamW = kernels.AdamW{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.05, Corr1: 0.271, Corr2: 0.0547}

// benchCols is the row length of the row kernels: the width of a layer.
const benchCols = 384

// benchElements keeps the operands of a kernel together at half a MiB: beyond the first-level cache, within the second.
const benchElements = 512 << 10 / 4

// vectorBench is an element-wise kernel to be measured.
type vectorBench struct {
	name     string
	operands float64  // of n float32 each; a quarter is n bytes
	bytes    int      // read and written for an element
	routines []string // of the listings, with the loop if not the longest; a turn does 16 elements, or as many as stand after the colon, and after the stroke for AVX-512
	run      func(b [][]float32, rows, n int)
}

var vectorBenches = []vectorBench{
	{"Add", 2, 12, []string{"addBlocks"}, func(b [][]float32, _, _ int) { kernels.Add(b[0], b[1]) }},
	{"Scale", 1, 8, []string{"scaleBlocks"}, func(b [][]float32, _, _ int) { kernels.Scale(b[0], 0.999) }},
	{"Lerp", 2, 12, []string{"lerpBlocks"}, func(b [][]float32, _, _ int) { kernels.Lerp(b[0], b[1], 0.996) }},
	{"GELU", 2, 8, []string{"geluBlocks"}, func(b [][]float32, _, _ int) { kernels.GELU(b[0], b[1]) }},
	{"GELUGrad", 3, 12, []string{"geluGradBlocks"}, func(b [][]float32, _, _ int) { kernels.GELUGrad(b[0], b[1], b[2]) }},
	{"SumSquares", 1, 4, []string{"sumSquaresBlocks"}, func(b [][]float32, _, _ int) { kernels.SumSquares(b[0]) }},
	{"SmoothL1", 3, 12, []string{"smoothL1Blocks"}, func(b [][]float32, _, _ int) { kernels.SmoothL1(b[0], b[1], b[2], 0.3) }},
	{"SquaredError", 3, 12, []string{"squaredErrorBlocks"}, func(b [][]float32, _, _ int) { kernels.SquaredError(b[0], b[1], b[2], 0.3) }},
	{"AdamW.Step", 4, 28, []string{"adamwBlocks"}, func(b [][]float32, _, _ int) { testAdamW.Step(b[0], b[1], b[2], b[3], 0.7) }},
	{"AdamW.StepEMA", 5, 36, []string{"adamwEMABlocks"}, func(b [][]float32, _, _ int) {
		testAdamW.StepEMA(b[0], b[1], b[2], b[3], b[4], 0.7, 0.996)
	}},
	{"LayerNorm", 2, 8, []string{"layerNormAffineRows.loop1", "layerNormAffineRows.loop2", "layerNormAffineRows.loop3"}, func(b [][]float32, rows, n int) {
		kernels.LayerNorm(b[0], b[1], benchRow[0], benchRow[1], benchStat[0], benchStat[1], rows, n, 1e-6)
	}},
	{"AddLayerNormGrad", 3, 16, []string{"addLayerNormGainGradRows.loop1", "addLayerNormGainGradRows.loop2"}, func(b [][]float32, rows, n int) {
		kernels.AddLayerNormGrad(b[0], b[1], b[2], benchRow[0], benchStat[0], benchStat[1], rows, n)
	}},
	{"AddLayerNormParamGrad", 2, 8, []string{"addLayerNormParamGradBlocks"}, func(b [][]float32, rows, n int) {
		kernels.AddLayerNormParamGrad(benchRow[2], benchRow[3], b[0], b[1], benchStat[0], benchStat[1], rows, n, 0, n)
	}},
	{"AddColumnSums", 1, 4, []string{"addColumnSumsBlocks"}, func(b [][]float32, rows, n int) {
		kernels.AddColumnSums(benchRow[2], b[0], rows, n, 0, n)
	}},
	{"Softmax", 1, 8, []string{"softmaxRowsAVX2.largest", "softmaxRowsAVX2.exp:16/32", "softmaxRowsAVX2.scale"}, func(b [][]float32, rows, n int) {
		kernels.Softmax(b[0], rows, n, n, 0.125)
	}},
	{"SoftmaxGrad", 3, 12, []string{"softmaxGradRowsAVX2.dot", "softmaxGradRowsAVX2.grad"}, func(b [][]float32, rows, n int) {
		kernels.SoftmaxGrad(b[0], b[1], b[2], rows, n, n, 0.125)
	}},
	{"i8.QuantizeRows", 1.25, 5, []string{"quantizeRowsAVX2.absmax:32", "quantizeRowsAVX2.quant:32"}, func(b [][]float32, rows, n int) { i8.QuantizeRows(benchI8, benchStat[0], b[0], rows, n, n) }},
	{"i8.Dequant", 2, 8, []string{"dequantAVX2:16"}, func(b [][]float32, rows, n int) {
		i8.Dequant(b[0], n, benchI32, n, rows, n, benchStat[0], benchRow[0], benchRow[1])
	}},
	{"i8.QuantizeRowsStochastic", 1.25, 5, []string{"maxAbsBitsAVX2:32", "quantizeStochasticAVX2:32"}, func(b [][]float32, rows, n int) {
		i8.QuantizeRowsStochastic(benchI8, benchStat[0], b[0], rows, n, n, noise.Stream{})
	}},
	{"i8.QuantizeColumns", 1.25, 5, []string{"maxAbsColumnsAVX2.row8:64", "quantizeColumnsAVX2.rows:32", "quantizeColumnsAVX2.group:256"}, func(b [][]float32, rows, n int) { i8.QuantizeColumns(benchI8, rows, benchRow[0], b[0], rows, n, n) }},
	{"RequantI8", 1.25, 5, []string{"requantI8Rows:32"}, func(_ [][]float32, rows, n int) {
		fixed.RequantI8(benchI8, n, benchI32, n, rows, n, &benchRequant.Requant)
	}},
	{"RequantGELU", 1.25, 5, []string{"requantGELURows:32"}, func(_ [][]float32, rows, n int) {
		fixed.RequantGELU(benchI8, n, benchI32, n, rows, n, &benchRequant.Requant, benchRequant.gelu)
	}},
	{"AddRequant", 2, 12, []string{"addRequantRows:32"}, func(_ [][]float32, rows, n int) {
		fixed.AddRequant(benchRes, n, benchI32, n, rows, n, &benchRequant.Requant)
	}},
	{"IntLayerNorm", 1.25, 5, []string{"rowMomentsBlocks:16", "scaleI8Rows:16"}, func(_ [][]float32, rows, n int) {
		fixed.LayerNorm(benchI8, n, benchI32, n, rows, n, &benchRequant.Requant, 1)
	}},
	{"SoftmaxI8", 1.25, 5, []string{"softmaxI8Row:32"}, func(_ [][]float32, rows, n int) {
		fixed.SoftmaxI8(benchI8, n, benchSums, benchI32, n, rows, n, benchRequant.softmax)
	}},
	{"LookupI8", 1, 2, []string{"lookupI8Blocks:64"}, func(b [][]float32, _, _ int) { fixed.Lookup(benchI8, benchI8, benchRequant.table) }},
	{"RoundHalf", 1, 6, []string{"roundHalfBlocks"}, func(b [][]float32, _, _ int) { kernels.RoundHalf(benchU16[0], b[0], noise.Stream{}) }},
	{"LerpHalf", 1, 8, []string{"lerpHalfBlocks"}, func(b [][]float32, _, _ int) { kernels.LerpHalf(benchU16[0], b[0], 0.996, noise.Stream{}) }},
	{"AdamW.StepHalf", 2, 20, []string{"adamwHalfBlocks"}, func(b [][]float32, _, _ int) {
		testAdamW.StepHalf(b[0], b[1], benchU16[0], benchU16[1], 0.7, noise.Stream{})
	}},
	{"AdamW.StepHalfEMAHalf", 2, 24, []string{"adamwHalfEMAHalfBlocks"}, func(b [][]float32, _, _ int) {
		testAdamW.StepHalfEMAHalf(b[0], b[1], benchU16[0], benchU16[1], benchU16[2], 0.7, 0.996, noise.Stream{})
	}},
	{"fp.EncodeHalf", 1, 6, nil, func(b [][]float32, _, _ int) { fp.EncodeHalf(benchU16[0], b[0]) }},
	{"fp.DecodeHalf", 1, 6, nil, func(b [][]float32, _, _ int) { fp.DecodeHalf(b[0], benchU16[0]) }},
}

// The small operands of row kernels, and those of other types.
var (
	benchRow  [4][]float32
	benchStat [2][]float32
	benchI8   []int8
	benchI32  []int32
	benchSums []int32
	benchRes  []int32
	benchU16  [3][]uint16
)

// benchRequant are the constants of the fixed-point kernels, for sums of a few thousand.
var benchRequant = func() (c struct {
	fixed.Requant
	gelu    *fixed.GELU
	softmax *fixed.Softmax
	table   *[256]int8
}) {
	ratio, bias := make([]float64, benchCols), make([]float64, benchCols)
	for i := range ratio {
		ratio[i] = 1.0 / 64
	}
	q, err := fixed.NewRequant(ratio, bias, 1<<20)
	if err == nil {
		c.Requant = *q
		c.gelu, err = fixed.NewGELU(1.0/32, -128)
	}
	if err == nil {
		c.softmax, err = fixed.NewSoftmax(1.0/1024, true)
	}
	if err != nil {
		panic(err)
	}
	c.table = fixed.GELUTable(1.0/32, 1.0/32)
	return c
}()

// vectorOperands fills the operands of a kernel: [rows, benchCols] each.
func vectorOperands(k vectorBench) (b [][]float32, rows int) {
	rows = int(benchElements/k.operands) / benchCols
	r := rand.New(rand.NewPCG(1, 1))
	positive := func(n int) []float32 { // moments and deviations are not negative
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.Float64()) + 0.1
		}
		return x
	}
	for range int(math.Ceil(k.operands)) {
		b = append(b, positive(rows*benchCols))
	}
	for i := range benchRow {
		benchRow[i] = positive(benchCols)
	}
	for i := range benchStat {
		benchStat[i] = positive(rows)
	}
	benchI8, benchI32, benchSums = make([]int8, rows*benchCols), make([]int32, rows*benchCols), make([]int32, rows)
	benchRes = make([]int32, rows*benchCols)
	for i := range benchI32 {
		benchI32[i] = int32(r.IntN(16384) - 8192)
	}
	for i := range benchU16 {
		benchU16[i] = make([]uint16, rows*benchCols)
		fp.EncodeHalf(benchU16[i], positive(rows*benchCols))
	}
	return b, rows
}

// printElementwise compares each kernel with a copy of as many bytes out of the second-level cache, and with what its
// instructions allow.
func printElementwise(bars *verdicts) {
	var paths []string
	for _, path := range benchPaths()[1:] {
		if f32Path(path) == path {
			paths = append(paths, path)
		}
	}
	if paths == nil {
		paths = []string{"generic"}
	}
	bound := newLimits()
	last := paths[len(paths)-1]
	copies := copyRacers(last)
	hz := peak.Clock()

	fmt.Println("\nELEMENT-WISE: GB/s read and written, operands together 512 KiB; share of what copy() reaches on as many bytes.")
	fmt.Println("cycles: for an element. limit: the share of them that the instructions need at least, whatever memory does: two")
	fmt.Println("multiplications, additions, shuffles and shifts and four operations of any kind a cycle, the measured rates of divisions and")
	fmt.Printf("roots, and the chain of additions that the fixed order of a sum makes.\n\n%-22s %5s %6s", "", "bytes", "copy")
	for _, path := range paths {
		fmt.Printf(" | %-30s", path)
	}
	fmt.Printf(" | generic\n%-22s %5s %6s", "", "", "")
	for range paths {
		fmt.Printf(" |   GB/s  /copy  cycles  limit  ")
	}
	fmt.Println(" | slower")
	held := map[string]*bar{}
	for _, path := range paths {
		held[path] = &bar{name: path + " element-wise: share of copy, or else of the instructions' limit >= 0.60", limit: 0.60}
	}
	for _, k := range vectorBenches {
		b, rows := vectorOperands(k)
		n := rows * benchCols
		run := always(func() { k.run(b, rows, benchCols) })
		work := float64(k.bytes * n)
		generic := local("generic", work, run)
		racers := []*racer{generic}
		for _, path := range paths {
			racers = append(racers, local(path, work, run))
		}
		race(10*(*tablesLaps), append(copies, racers...)...)
		copied := 0.0
		for _, c := range copies {
			copied = max(copied, c.best)
		}
		fmt.Printf("%-22s %5d %6.1f", k.name, k.bytes, copied/1e9)
		for i, path := range paths {
			rate := racers[1+i].best
			share, cycles, limit := rate/copied, hz*float64(k.bytes)/rate, bound.element(&k, path)
			mark := held[path].check(max(share, limit/cycles), k.name)
			fmt.Printf(" | %6.1f  %5.2f  %6.3f", rate/1e9, share, cycles)
			if limit > 0 {
				fmt.Printf("  %5.2f%s ", limit/cycles, mark)
			} else {
				fmt.Printf("  %5s%s ", "", mark)
			}
		}
		if strings.HasPrefix(k.name, "fp.") { // has switches of its own
			fmt.Println(" |")
		} else {
			fmt.Printf(" | %5.1f\n", racers[len(racers)-1].best/generic.best)
		}
	}
	for _, path := range paths {
		bars.add(held[path])
	}
}

// element is the bound for an element of a kernel on a path, or 0.
func (l *limits) element(k *vectorBench, path string) (cycles float64) {
	if path == "generic" {
		return 0
	}
	for _, routine := range k.routines {
		name, elements, _ := strings.Cut(routine, ":")
		elements, wide, _ := strings.Cut(cmp.Or(elements, "16"), "/")
		if path == "avx512" {
			elements = cmp.Or(wide, elements)
		}
		per, err := strconv.Atoi(elements)
		if err != nil {
			panic(err)
		}
		cycles += l.cycles(name, path) / float64(per)
	}
	return cycles
}

// copyRacers copy a quarter MiB to places that differ in how they lie to the source within a page, of which the best
// counts.
func copyRacers(path string) (r []*racer) {
	const n = benchElements * 2
	for _, offset := range []int{0, 64, 1024, 2048, 3072} {
		from, to := make([]byte, n), make([]byte, n+4096)
		r = append(r, local(path, 2*n, always(func() { copy(to[offset:], from) })))
	}
	return r
}

// BenchmarkElementwise is each kernel on the machine's best path, for profiles; TestTables has every path.
func BenchmarkElementwise(b *testing.B) {
	for _, k := range vectorBenches {
		x, rows := vectorOperands(k)
		b.Run(k.name, func(b *testing.B) {
			b.SetBytes(int64(k.bytes * rows * benchCols))
			for b.Loop() {
				k.run(x, rows, benchCols)
			}
		})
	}
}
