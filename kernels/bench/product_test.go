package bench

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"edgejepa/kernels"
	"edgejepa/kernels/internal/peak"
)

// productTables are the tables of all layers.
type productTables struct {
	want     func(section string) bool
	layers   []*layer
	f32Paths []string // those with a float32 kernel of their own
	peers    map[string]*peer
}

func newProductTables(t *testing.T, want func(string) bool) *productTables {
	s := &productTables{want: want, peers: map[string]*peer{}}
	for _, l := range layers() {
		if *tablesWidth == 0 || l.width == *tablesWidth {
			s.layers = append(s.layers, l)
		}
	}
	for _, path := range benchPaths()[1:] {
		if f32Path(path) == path {
			s.f32Paths = append(s.f32Paths, path)
		}
	}
	if want("openblas") {
		s.peers = startPeers(t, s.f32Paths)
	}
	return s
}

func (s *productTables) close() {
	for _, p := range s.peers {
		p.close()
	}
}

// f32Path is the rung whose float32 kernels a rung runs.
func f32Path(path string) string {
	if l := peak.Of(path, "f32"); l != nil {
		return l.Path
	}
	return path
}

// measure goes over the layers a few times, so that a bad second spoils no line.
func (s *productTables) measure() {
	var o operands
	for range *tablesLaps {
		for _, l := range s.layers {
			o.shape(l)
			s.raceLayer(l, &o)
		}
	}
}

func (s *productTables) raceLayer(l *layer, o *operands) {
	if l.f32 == nil {
		l.f32, l.int8, l.blas = map[string]*f32Racers{}, map[string]*int8Racers{}, map[string]*blasRacers{}
		l.f32Peaks, l.int8Peak = map[string]*racer{}, map[string]*racer{}
		for _, path := range s.f32Paths {
			l.f32[path], l.f32Peaks[path] = o.f32Racers(path, l), top(peak.Of(path, "f32"))
			if p := s.peers[path]; p != nil {
				l.blas[path] = p.racers(l)
			}
		}
		for _, path := range benchPaths()[1:] {
			if s.want("int8") {
				l.int8[path], l.int8Peak[path] = o.int8Racers(path, l), top(peak.Of(path, "int8"))
			}
		}
	}
	// Neighbours in the order are what the tables compare.
	var order []*racer
	for _, path := range s.f32Paths {
		f := l.f32[path]
		order = append(order, l.f32Peaks[path], f.withWeight)
		for i, ways := range [][]*racer{{f.forward}, {f.input}, {f.weightView, f.weightPacked}} {
			order = append(order, ways...)
			if b := l.blas[path]; b != nil {
				order = append(order, b[i])
			}
		}
	}
	for _, path := range benchPaths()[1:] {
		if i8 := l.int8[path]; i8 != nil {
			f := l.f32[f32Path(path)]
			order = append(order, l.int8Peak[path], i8.product, f.forward, i8.forward, f.input, i8.input, f.weightView, i8.weight)
		}
	}
	race(6, order...)
}

func (s *productTables) print(bars *verdicts) {
	for _, path := range s.f32Paths {
		if s.want("f32") || s.want("openblas") {
			s.printF32(path, bars)
		}
	}
	if s.want("f32") {
		s.printGeneric()
	}
	for _, path := range benchPaths()[1:] {
		if s.want("int8") {
			s.printI8(path, bars)
		}
	}
}

// shareBar is the least share of the multiply-add peak that a product must reach, or 0.
func (l *layer) shareBar() float64 {
	switch {
	case l.tokens < 64:
		return 0
	case l.width == 128:
		return 0.70
	}
	return 0.85
}

func (s *productTables) printF32(path string, bars *verdicts) {
	large := &bar{name: path + " f32, 64x192x192 and larger: share of the FMA peak >= 0.85", limit: 0.85}
	narrow := &bar{name: path + " f32, width 128, 64 tokens and more: share of the FMA peak >= 0.70", limit: 0.70}
	level := &bar{name: path + " f32 over OpenBLAS, no shape slower (0.98: equal)", limit: 0.98}
	small := &bar{name: path + " f32 over OpenBLAS, at most 64 tokens x 192: faster (1.02)", limit: 1.02}
	p := s.peers[path]
	fmt.Printf("\nF32, %s: GMAC/s, share of the register-only peak", strings.ToUpper(path))
	if p != nil {
		fmt.Printf(", times %s (one thread)", p.name)
	}
	fmt.Println("\nThe weight is packed before. dyᵀ·x reads x as it lies or packs it first, whichever is faster here; the last column is x·Wᵀ")
	fmt.Println("with the weight packed each time, as OpenBLAS has to.")
	head := "GMAC/s peak"
	if p != nil {
		head = "GMAC/s  peak  /OB "
	}
	fmt.Printf("\n%-6s %-4s %-12s", "tokens", "", "out x in")
	for _, name := range productNames {
		fmt.Printf(" | %-*s", len(head), name)
	}
	fmt.Printf(" | both packed\n%-6s %-4s %-12s", "", "", "")
	for range productNames {
		fmt.Printf(" | %s", head)
	}
	fmt.Println()
	for i, l := range s.layers {
		if i > 0 && s.layers[i-1].width != l.width {
			fmt.Println()
		}
		fmt.Printf("%6d %-4s %-12s", l.tokens, l.form, fmt.Sprintf("%dx%d", l.out, l.in))
		for j, r := range l.f32[path].products() {
			where := fmt.Sprintf("%s %s", l, productNames[j])
			part, mark := share(r, l.f32Peaks[path]), " "
			switch l.shareBar() {
			case large.limit:
				mark = large.check(part, where)
			case narrow.limit:
				mark = narrow.check(part, where)
			}
			fmt.Printf(" | %6.1f %5.2f%s", r.best/1e9, part, mark)
			if p != nil {
				ratio := r.best / l.blas[path][j].best
				mark := level.check(ratio, where)
				if l.tokens <= 64 && l.width <= 192 {
					mark = cmp.Or(strings.TrimSpace(mark), small.check(ratio, where))
				}
				fmt.Printf("%4.2f%s", ratio, mark)
			}
		}
		both := l.f32[path].withWeight
		fmt.Printf(" | %6.1f", both.best/1e9)
		if p != nil {
			fmt.Printf(" %5.2f", both.best/l.blas[path][0].best)
		}
		fmt.Println()
	}
	printAttention(path)
	for _, b := range []*bar{large, narrow, level, small} {
		bars.add(b)
	}
}

// printAttention is the attention of one picture, softmax and all, as multiply-adds of its products alone.
func printAttention(path string) {
	fmt.Printf("\nattention of a picture, softmax included: %-16s | %-13s | %-13s\n", "", "forward", "backward")
	for _, c := range []struct{ tokens, dim, heads int }{{64, 128, 4}, {144, 192, 3}, {196, 384, 6}, {196, 768, 12}} {
		n := c.tokens * c.dim
		var x [4][]float32
		r := rand.New(rand.NewPCG(1, 1))
		for i, size := range []int{3 * n, n, n, 3 * n} { // qkv, att, datt, dqkv
			x[i] = make([]float32, size)
			for j := range x[i] {
				x[i][j] = float32(r.NormFloat64())
			}
		}
		probs := make([]float32, c.heads*c.tokens*c.tokens)
		scratch := make([]float32, kernels.AttentionScratch(c.tokens, c.dim, c.heads))
		product := float64(c.tokens) * float64(n)
		forward := local(path, 2*product, always(func() {
			kernels.AttentionForward(x[1], x[0], probs, c.tokens, c.dim, c.heads, scratch)
		}))
		backward := local(path, 4*product, always(func() {
			kernels.AttentionBackward(x[3], x[2], x[0], probs, c.tokens, c.dim, c.heads, scratch)
		}))
		most := top(peak.Of(path, "f32"))
		race(6*(*tablesLaps), most, forward, backward)
		fmt.Printf("%6d tokens, width %d, %2d heads %24s | %6.1f %5.2f  | %6.1f %5.2f\n", c.tokens, c.dim, c.heads, "",
			forward.best/1e9, share(forward, most), backward.best/1e9, share(backward, most))
	}
}

// printGeneric is for a few shapes: pure Go is the reference, not a fast path.
func (s *productTables) printGeneric() {
	fmt.Printf("\nF32 AND INT8 IN PURE GO (generic): GMAC/s\n\n%-6s %-4s %-12s", "tokens", "", "out x in")
	for _, name := range productNames {
		fmt.Printf(" | %6s", name)
	}
	fmt.Printf(" | %6s | int8 over f32\n", "int8")
	var o operands
	for _, l := range s.layers {
		if l.form != "proj" || l.tokens != 64 || l.width > 192 {
			continue
		}
		o.shape(l)
		f, i := o.f32Racers("generic", l), o.int8Racers("generic", l)
		race(5, f.forward, i.forward, f.input, f.weightView, f.weightPacked)
		fmt.Printf("%6d %-4s %-12s", l.tokens, l.form, fmt.Sprintf("%dx%d", l.out, l.in))
		for _, r := range f.products() {
			fmt.Printf(" | %6.2f", r.best/1e9)
		}
		fmt.Printf(" | %6.2f | %5.2f\n", i.forward.best/1e9, i.forward.best/f.forward.best)
	}
}

// printI8 is a page for each path.
func (s *productTables) printI8(path string, bars *verdicts) {
	over := peak.Of(path, "int8")
	if over == nil {
		return
	}
	gain := &bar{name: path + " int8 over f32, x·Wᵀ, 64 tokens and more >= 1.50", limit: 1.5}
	fmt.Printf("\nINT8, %s: the product of int8 alone, GMAC/s and share of the register-only peak of %s;\n", strings.ToUpper(path), over.Name)
	fmt.Printf("then from float32 to float32, quantising included, GMAC/s and times the float32 product of path %s.\n", f32Path(path))
	fmt.Println("The weight is quantised and packed before, as int8 of rows for x·Wᵀ, of columns for dy·W.")
	fmt.Printf("\n%-6s %-4s %-12s | %-12s", "tokens", "", "out x in", "int8 alone")
	for _, name := range productNames {
		fmt.Printf(" | %-13s", name)
	}
	fmt.Printf("\n%-6s %-4s %-12s | GMAC/s  peak", "", "", "")
	for range productNames {
		fmt.Printf(" | GMAC/s  /f32 ")
	}
	fmt.Println()
	for i, l := range s.layers {
		if i > 0 && s.layers[i-1].width != l.width {
			fmt.Println()
		}
		r, f := l.int8[path], l.f32[f32Path(path)].products()
		fmt.Printf("%6d %-4s %-12s | %6.1f %5.2f", l.tokens, l.form, fmt.Sprintf("%dx%d", l.out, l.in),
			r.product.best/1e9, share(r.product, l.int8Peak[path]))
		for j, x := range []*racer{r.forward, r.input, r.weight} {
			times, mark := x.best/f[j].best, " "
			if j == 0 && l.tokens >= 64 {
				mark = gain.check(times, l.String())
			}
			fmt.Printf(" | %6.1f %5.2f%s", x.best/1e9, times, mark)
		}
		fmt.Println()
	}
	bars.add(gain)
}
