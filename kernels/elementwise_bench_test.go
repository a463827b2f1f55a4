package kernels

import (
	"fmt"
	"testing"

	"edgejepa/kernels/kerneltest"
)

// Nanoseconds per element of every kernel on every path, on sizes of a ViT with 192 to 384 channels and 196 tokens.
func BenchmarkElementwise(b *testing.B) {
	const n = 196
	for _, k := range elementwise {
		bufs := [][]float32{}
		total := 0
		for i, l := range k.lens(n) {
			x := filled(l, kerneltest.Normal, uint64(i))
			for j := range x { // moments and rstd must not be negative
				x[j] = abs(x[j])
			}
			bufs, total = append(bufs, x), max(total, l)
		}
		run := func(b *testing.B) {
			for b.Loop() {
				k.run(bufs, n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(total), "ns/elem")
		}
		b.Run(fmt.Sprintf("%s/fast", k.name), run)
		b.Run(fmt.Sprintf("%s/generic", k.name), func(b *testing.B) { onGeneric(func() { run(b) }) })
	}
}
