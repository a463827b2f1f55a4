package bench

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"edgejepa/kernels"
	"edgejepa/kernels/i8"
)

// layer is a product of a transformer block: [tokens, in] times a weight [out, in].
type layer struct {
	form               string
	tokens, width      int
	out, in            int
	f32                map[string]*f32Racers
	int8               map[string]*int8Racers
	blas               map[string]*blasRacers
	f32Peaks, int8Peak map[string]*racer
}

func (l *layer) String() string { return fmt.Sprintf("%dx%dx%d", l.tokens, l.out, l.in) }
func (l *layer) macs() float64  { return float64(l.tokens * l.out * l.in) }

// layers lists the products of the blocks that the presets are made of.
func layers() []*layer {
	var all []*layer
	for _, width := range []int{128, 192, 384, 768} {
		for _, tokens := range []int{16, 64, 144, 196} {
			for _, f := range []struct {
				form    string
				out, in int
			}{{"qkv", 3 * width, width}, {"proj", width, width}, {"fc1", 4 * width, width}, {"fc2", width, 4 * width}} {
				all = append(all, &layer{form: f.form, tokens: tokens, width: width, out: f.out, in: f.in})
			}
		}
	}
	return all
}

// The three products of a layer as it is trained: y = x·Wᵀ + b, dx = dy·W, dW += dyᵀ·x. The weight is packed when it
// changes; x and dy are read as they lie, but for dW x may be packed first: both ways are measured, the better counts.
type f32Racers struct{ forward, input, weightView, weightPacked, withWeight *racer }

func (r *f32Racers) products() [3]*racer {
	weight := r.weightView
	if r.weightPacked.best > weight.best {
		weight = r.weightPacked
	}
	return [3]*racer{r.forward, r.input, weight}
}

// int8Racers are the forward product of int8 operands alone, and the three products from float32 to float32: quantising
// activations and gradients and packing them where that is needed, but not the weight.
type int8Racers struct{ product, forward, input, weight *racer }

type blasRacers [3]*racer

var productNames = [3]string{"x·Wᵀ", "dy·W", "dyᵀ·x"}

// operands of the layer that is being measured, reused for all.
type operands struct {
	x, w, bias, dy []float32                     // read
	y, dx, dw      []float32                     // written
	f32            map[string]*[2]kernels.Panels // Wᵀ and W, by path
	packed         kernels.Panels

	xq, xtq, wq, wtq, dyq []int8 // x and its transpose, W and its transpose
	xtScale, scale        []float32
	wScale, wtScale       []float32
	acc                   []int32
	i8                    map[string]*[2]i8.Panels // Wᵀ and W, by path
	packedI8              i8.Panels
}

func (o *operands) shape(l *layer) {
	r := rand.New(rand.NewPCG(1, 1))
	fill := func(x *[]float32, n int) {
		*x = slices.Grow((*x)[:0], n)[:n]
		for i := range *x {
			(*x)[i] = float32(r.Float64()*2 - 1)
		}
	}
	fill(&o.x, l.tokens*l.in)
	fill(&o.w, l.out*l.in)
	fill(&o.y, l.tokens*l.out)
	fill(&o.dy, l.tokens*l.out)
	fill(&o.dx, l.tokens*l.in)
	fill(&o.dw, l.out*l.in)
	fill(&o.bias, l.out)
	fill(&o.wScale, l.out)
	fill(&o.wtScale, l.in)
	fill(&o.xtScale, l.in)
	fill(&o.scale, max(l.out, l.tokens))
	o.xq, o.xtq, o.dyq = make([]int8, l.tokens*l.in), make([]int8, l.tokens*l.in), make([]int8, l.tokens*l.out)
	o.wq, o.wtq = make([]int8, l.out*l.in), make([]int8, l.out*l.in)
	o.acc = make([]int32, l.tokens*l.out)
	i8.QuantizeRows(o.xq, o.scale, o.x, l.tokens, l.in, l.in)
	i8.QuantizeWeights(o.wq, o.wScale, o.w, l.out, l.in)
	wt := make([]float32, len(o.w))
	for i := range l.out {
		for j := range l.in {
			wt[j*l.out+i] = o.w[i*l.in+j]
		}
	}
	i8.QuantizeWeights(o.wtq, o.wtScale, wt, l.in, l.out)
	o.f32, o.i8 = map[string]*[2]kernels.Panels{}, map[string]*[2]i8.Panels{}
}

func (o *operands) panels(path string, l *layer) *[2]kernels.Panels {
	if o.f32[path] == nil {
		usePath(path)
		p := new([2]kernels.Panels)
		p[0].PackT(o.w, l.in, l.in, l.out)
		p[1].Pack(o.w, l.in, l.out, l.in)
		o.f32[path] = p
	}
	return o.f32[path]
}

func (o *operands) panelsI8(path string, l *layer) *[2]i8.Panels {
	if o.i8[path] == nil {
		usePath(path)
		p := new([2]i8.Panels)
		p[0].Pack(o.wq, l.in, l.out)
		p[1].Pack(o.wtq, l.out, l.in)
		o.i8[path] = p
	}
	return o.i8[path]
}

func (o *operands) f32Racers(path string, l *layer) *f32Racers {
	return &f32Racers{
		forward: local(path, l.macs(), func() func() {
			w := &o.panels(path, l)[0]
			return func() { kernels.Gemm(o.y, l.out, o.x, l.in, l.tokens, w, o.bias, 0) }
		}),
		input: local(path, l.macs(), func() func() {
			w := &o.panels(path, l)[1]
			return func() { kernels.Gemm(o.dx, l.in, o.dy, l.out, l.tokens, w, nil, 0) }
		}),
		weightView: local(path, l.macs(), func() func() {
			x := &kernels.View{K: l.tokens, N: l.in, X: o.x, LD: l.in}
			return func() { kernels.AddGemmTNView(o.dw, l.in, o.dy, l.out, l.out, x) }
		}),
		weightPacked: local(path, l.macs(), always(func() {
			o.packed.Pack(o.x, l.in, l.tokens, l.in)
			kernels.AddGemmTN(o.dw, l.in, o.dy, l.out, l.out, &o.packed)
		})),
		withWeight: local(path, l.macs(), always(func() {
			o.packed.PackT(o.w, l.in, l.in, l.out)
			kernels.Gemm(o.y, l.out, o.x, l.in, l.tokens, &o.packed, o.bias, 0)
		})),
	}
}

func (o *operands) int8Racers(path string, l *layer) *int8Racers {
	return &int8Racers{
		product: local(path, l.macs(), func() func() {
			w := &o.panelsI8(path, l)[0]
			return func() { i8.Gemm(o.acc, l.out, o.xq, l.in, l.tokens, w) }
		}),
		forward: local(path, l.macs(), func() func() {
			w := &o.panelsI8(path, l)[0]
			return func() {
				i8.QuantizeRows(o.xq, o.scale, o.x, l.tokens, l.in, l.in)
				i8.GemmF32(o.y, l.out, o.xq, l.in, l.tokens, w, o.scale, o.wScale, &kernels.Epilogue{Bias: o.bias})
			}
		}),
		input: local(path, l.macs(), func() func() {
			w := &o.panelsI8(path, l)[1]
			return func() {
				i8.QuantizeRows(o.dyq, o.scale, o.dy, l.tokens, l.out, l.out)
				i8.GemmF32(o.dx, l.in, o.dyq, l.out, l.tokens, w, o.scale, o.wtScale, nil)
			}
		}),
		weight: local(path, l.macs(), always(func() {
			i8.QuantizeColumns(o.xtq, l.tokens, o.xtScale, o.x, l.tokens, l.in, l.in)
			o.packedI8.Pack(o.xtq, l.tokens, l.in)
			i8.QuantizeColumns(o.dyq, l.tokens, o.scale, o.dy, l.tokens, l.out, l.out)
			i8.GemmF32(o.dw, l.in, o.dyq, l.tokens, l.out, &o.packedI8, o.scale, o.xtScale, &kernels.Epilogue{Residual: o.dw, LDResidual: l.in})
		})),
	}
}

// BenchmarkGemm is the three products of some layers on the machine's best path, for profiles; TestTables has them all.
func BenchmarkGemm(b *testing.B) {
	path := benchPaths()[len(benchPaths())-1]
	var o operands
	for _, l := range layers() {
		if l.form != "fc1" || l.tokens != 64 && l.tokens != 196 {
			continue
		}
		o.shape(l)
		for i, r := range o.f32Racers(path, l).products() {
			b.Run(fmt.Sprintf("%s/%s", l, [3]string{"forward", "input", "weight"}[i]), func(b *testing.B) {
				seconds := r.run(b.N).Seconds()
				b.ReportMetric(l.macs()*float64(b.N)/seconds/1e9, "GMAC/s")
			})
		}
	}
}
