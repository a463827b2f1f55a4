package jepa

import (
	"errors"
	"fmt"
	"math"

	"edgejepa/internal/rng"
)

// MaskConfig says how pictures are cut into a visible context and hidden target blocks: multi-block masking
// (arXiv 2301.08243, section 3 and appendix A.4).
type MaskConfig struct {
	GridH        int        `json:"grid_h"`
	GridW        int        `json:"grid_w"`
	TargetScale  [2]float64 `json:"target_scale"`  // share of the grid that a target block covers
	TargetAspect [2]float64 `json:"target_aspect"` // its height over its width
	ContextScale [2]float64 `json:"context_scale"` // share of the grid that the context block spans, before targets are cut out
	Targets      int        `json:"targets"`       // target blocks a picture, M
	MinKeep      int        `json:"min_keep"`      // visible patches a picture keeps at least
	EqualContext bool       `json:"equal_context"` // cut every context of a batch, by dropping patches at random, to the shortest and to half the grid
	Compat       bool       `json:"compat"`        // the official code's sampler, see sampleCompat
}

// DefaultMasks are the paper's masks with a floor on the context that fits the grid.
func DefaultMasks(gridH, gridW int) MaskConfig {
	return MaskConfig{
		GridH: gridH, GridW: gridW, TargetScale: [2]float64{0.15, 0.2}, TargetAspect: [2]float64{0.75, 1.5},
		ContextScale: [2]float64{0.85, 1}, Targets: 4, MinKeep: max(2, min(10, gridH*gridW/10)), EqualContext: true,
	}
}

// Masks are the patches, as row-major indices, of one batch. Sample reuses its memory.
type Masks struct {
	Context    []int32 // picture b sees Context[ContextOff[b]:ContextOff[b+1]], ascending
	ContextOff []int32
	Targets    []int32 // [B, M, TargetLen]: all blocks of a batch have one size
	TargetLen  int
}

// size is a block's height and width in patches.
type size struct{ h, w int }

func (s size) area() int { return s.h * s.w }

// targetSize is a target block covering scale of the grid, at least one patch and never the whole grid's side.
func (c MaskConfig) targetSize(scale, aspect float64) size {
	area := scale * float64(c.GridH*c.GridW)
	return c.within(int(math.RoundToEven(math.Sqrt(area*aspect))), int(math.RoundToEven(math.Sqrt(area/aspect))))
}

func (c MaskConfig) within(h, w int) size {
	return size{max(1, min(h, c.GridH-1)), max(1, min(w, c.GridW-1))}
}

// contextSize is the context block spanning scale of the grid, in the grid's own aspect.
func (c MaskConfig) contextSize(scale float64) size {
	fit := func(side int) int { return max(1, min(int(math.RoundToEven(float64(side)*math.Sqrt(scale))), side)) }
	return size{fit(c.GridH), fit(c.GridW)}
}

// extremes are the smallest and largest target areas that can be drawn.
func (c MaskConfig) extremes() (least, most int) {
	if c.Compat {
		return c.compatExtremes(c.TargetScale, c.TargetAspect)
	}
	// Before rounding, a height u and width v fill the region that area = u*v and aspect = u/v bound, and every
	// (h, w) stands for the square of side 1 around it. Both are rectangles in (log u, log v), one turned by 45
	// degrees, so they meet if their shadows do on all four axes (the separating axis theorem).
	n := float64(c.GridH * c.GridW)
	area, aspect := [2]float64{c.TargetScale[0] * n, c.TargetScale[1] * n}, c.TargetAspect
	meet := func(lo, hi, from, to float64) bool { return lo <= to && from <= hi }
	least = c.GridH * c.GridW
	for h := range int(math.Sqrt(area[1]*aspect[1])) + 2 {
		h0, h1 := max(float64(h)-0.5, 0), float64(h)+0.5
		for w := range int(math.Sqrt(area[1]/aspect[0])) + 2 {
			w0, w1 := max(float64(w)-0.5, 0), float64(w)+0.5
			if meet(h0*h0, h1*h1, area[0]*aspect[0], area[1]*aspect[1]) &&
				meet(w0*w0, w1*w1, area[0]/aspect[1], area[1]/aspect[0]) &&
				meet(h0*w0, h1*w1, area[0], area[1]) &&
				meet(h0, h1, aspect[0]*w0, aspect[1]*w1) {
				s := c.within(h, w).area()
				least, most = min(least, s), max(most, s)
			}
		}
	}
	return least, most
}

func between(r [2]float64, u float64) float64 { return r[0] + float64(u*(r[1]-r[0])) }

// MaxTarget is the most patches of a target block.
func (c MaskConfig) MaxTarget() int {
	_, most := c.extremes()
	return most
}

// MaxContext is the most visible patches of a picture.
func (c MaskConfig) MaxContext() int {
	if c.Compat { // it may give up all of its targets
		_, most := c.compatExtremes(c.ContextScale, [2]float64{1, 1})
		return most
	}
	n := c.GridH * c.GridW
	least, _ := c.extremes()
	most := min(c.contextSize(c.ContextScale[1]).area(), n-least)
	if c.EqualContext {
		most = min(most, max(c.MinKeep, n/2))
	}
	return most
}

// Validate refuses settings that no draw can satisfy, with the arithmetic.
func (c MaskConfig) Validate() error {
	n := c.GridH * c.GridW
	if c.GridH < 3 || c.GridW < 3 || n < 12 || n > 4096 || max(c.GridH, c.GridW) > 4096 {
		return fmt.Errorf("masks: a grid of %dx%d patches is too small or too large: use 4x4 up to 64x64 (image size over patch size)", c.GridH, c.GridW)
	}
	var errs []error
	scale := func(name string, r [2]float64, lo, hi float64) {
		if !(r[0] > lo && r[0] <= r[1] && r[1] <= hi) {
			errs = append(errs, fmt.Errorf("masks: %s is %g..%g: it must rise within (%g, %g]", name, r[0], r[1], lo, hi))
		}
	}
	scale("target_scale", c.TargetScale, 0, 0.9)
	scale("target_aspect", c.TargetAspect, 0.05, 20)
	scale("context_scale", c.ContextScale, 0.05, 1)
	if c.Targets < 1 || c.Targets > 32 {
		errs = append(errs, fmt.Errorf("masks: targets is %d: it must lie in 1..32", c.Targets))
	}
	if c.MinKeep < 1 {
		errs = append(errs, fmt.Errorf("masks: min_keep is %d: at least one patch must stay visible", c.MinKeep))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	least, most := c.extremes()
	if c.Compat {
		context, _ := c.compatExtremes(c.ContextScale, [2]float64{1, 1})
		switch {
		case least <= c.MinKeep:
			return fmt.Errorf("masks: compat accepts a block only if it has more than min_keep patches, but on %dx%d patches the smallest target block has %d and min_keep is %d: the official sampler would search for ever; lower min_keep below %d or leave compat off",
				c.GridH, c.GridW, least, c.MinKeep, least)
		case context <= c.MinKeep:
			return fmt.Errorf("masks: compat accepts a block only if it has more than min_keep patches, but on %dx%d patches the smallest context block has %d and min_keep is %d: the official sampler would search for ever; lower min_keep below %d or leave compat off",
				c.GridH, c.GridW, context, c.MinKeep, context)
		}
		return nil
	}
	context := c.contextSize(c.ContextScale[0]).area()
	// In the worst draw all targets lie on one another within the context block.
	if context-most < c.MinKeep {
		return fmt.Errorf("masks: on %dx%d patches the smallest context block has %d, a target block up to %d, which leaves %d visible where min_keep asks for %d: lower target_scale or min_keep, or raise context_scale",
			c.GridH, c.GridW, context, most, context-most, c.MinKeep)
	}
	return nil
}

// Sampler draws masks. What it draws for a step is a function of the seed and the step alone.
type Sampler struct {
	c      MaskConfig
	most   int    // c.MaxContext()
	hidden []bool // the present picture's target patches
	blocks []int32
}

// NewSampler prepares a sampler of a valid configuration.
func NewSampler(c MaskConfig) *Sampler {
	return &Sampler{c: c, most: c.MaxContext(), hidden: make([]bool, c.GridH*c.GridW)}
}

// maxTries is how often a picture's blocks are drawn anew before they are laid on one another.
const maxTries = 30

// Sample draws the masks of one step for batch pictures. The target and context block sizes are shared by the batch,
// scale and aspect drawn apart; every picture has its own places, all of the grid among them. A picture whose targets
// leave too little context is drawn anew, and after maxTries its targets all take the place of the first.
func (s *Sampler) Sample(m *Masks, seed uint64, step, batch int) {
	if s.c.Compat {
		s.sampleCompat(m, seed, step, batch)
		return
	}
	c := s.c
	r := rng.New(seed, rng.PurposeMask, uint64(step), 0)
	target := c.targetSize(between(c.TargetScale, r.Float64()), between(c.TargetAspect, r.Float64()))
	context := c.contextSize(between(c.ContextScale, r.Float64()))
	m.reset(target.area())
	for b := range batch {
		r := rng.New(seed, rng.PurposeMask, uint64(step), uint64(b)+1)
		first := len(m.Context)
		for try := 0; ; try++ {
			m.Context, m.Targets = m.Context[:first], m.Targets[:b*c.Targets*m.TargetLen]
			clear(s.hidden)
			var at place
			for t := range c.Targets {
				if t == 0 || try < maxTries {
					at = c.anywhere(&r, target)
				}
				m.Targets = s.hide(m.Targets, at, target)
			}
			m.Context = s.visible(m.Context, c.anywhere(&r, context), context)
			if len(m.Context)-first >= c.MinKeep { // true at the latest once the targets coincide, says Validate
				break
			}
		}
		m.ContextOff = append(m.ContextOff, int32(len(m.Context)))
	}
	if c.EqualContext {
		m.equalise(seed, step, s.most)
	}
}

type place struct{ y, x int }

// anywhere places a block uniformly, the last row and column included.
func (c MaskConfig) anywhere(r *rng.Source, s size) place {
	return place{r.IntN(c.GridH - s.h + 1), r.IntN(c.GridW - s.w + 1)}
}

// hide appends a block's patches and marks them.
func (s *Sampler) hide(dst []int32, at place, sz size) []int32 {
	for y := at.y; y < at.y+sz.h; y++ {
		for x := at.x; x < at.x+sz.w; x++ {
			i := y*s.c.GridW + x
			s.hidden[i] = true
			dst = append(dst, int32(i))
		}
	}
	return dst
}

// visible appends a block's patches that are not hidden.
func (s *Sampler) visible(dst []int32, at place, sz size) []int32 {
	for y := at.y; y < at.y+sz.h; y++ {
		for x := at.x; x < at.x+sz.w; x++ {
			if i := y*s.c.GridW + x; !s.hidden[i] {
				dst = append(dst, int32(i))
			}
		}
	}
	return dst
}

func (m *Masks) reset(targetLen int) {
	m.Context, m.ContextOff, m.Targets = m.Context[:0], append(m.ContextOff[:0], 0), m.Targets[:0]
	m.TargetLen = targetLen
}

// equalise cuts every context to the batch's shortest, and to most. Which patches go is drawn, so that no part of a
// picture is favoured (the official code drops the last indices, which are the bottom rows).
func (m *Masks) equalise(seed uint64, step, most int) {
	shortest := most
	for b := range m.pictures() {
		shortest = min(shortest, int(m.ContextOff[b+1]-m.ContextOff[b]))
	}
	out := 0
	for b := range m.pictures() {
		all := m.Context[m.ContextOff[b]:m.ContextOff[b+1]]
		r := rng.New(seed, rng.PurposeMask, uint64(step), 1<<32+uint64(b))
		need := shortest
		for i, patch := range all { // selection sampling (Knuth, TAOCP 2, 3.4.2, algorithm S)
			if r.IntN(len(all)-i) < need {
				m.Context[out] = patch
				out++
				need--
			}
		}
	}
	m.level(shortest)
}

func (m *Masks) pictures() int { return len(m.ContextOff) - 1 }

// level records that every context has length n.
func (m *Masks) level(n int) {
	for b := range m.ContextOff {
		m.ContextOff[b] = int32(b * n)
	}
	m.Context = m.Context[:m.pictures()*n]
}

// sampleCompat is the sampler of the official code (facebookresearch/ijepa, src/masks/multiblock.py) with our random
// numbers: one draw for both scale and aspect, blocks that never touch the last row and column, acceptance only with
// more than MinKeep patches, targets given up one by one every 20 refusals, and contexts cut to the batch's shortest
// by dropping the last indices.
func (s *Sampler) sampleCompat(m *Masks, seed uint64, step, batch int) {
	c := s.c
	r := rng.New(seed, rng.PurposeMask, uint64(step), 0)
	u := r.Float64()
	target := c.compatSize(between(c.TargetScale, u), between(c.TargetAspect, u))
	context := c.compatSize(between(c.ContextScale, r.Float64()), 1)
	m.reset(target.area())
	shortest := math.MaxInt
	for b := range batch {
		r := rng.New(seed, rng.PurposeMask, uint64(step), uint64(b)+1)
		s.blocks = s.blocks[:0]
		for range c.Targets {
			at := place{r.IntN(c.GridH - target.h), r.IntN(c.GridW - target.w)}
			s.blocks = append(s.blocks, int32(at.y), int32(at.x))
			m.Targets = s.hide(m.Targets, at, target)
		}
		first := len(m.Context)
		for try := 0; ; try++ {
			clear(s.hidden)
			for t := range max(0, c.Targets-try/20) {
				s.mark(place{int(s.blocks[2*t]), int(s.blocks[2*t+1])}, target)
			}
			at := place{r.IntN(max(1, c.GridH-context.h)), r.IntN(max(1, c.GridW-context.w))}
			m.Context = s.visible(m.Context[:first], at, context)
			if len(m.Context)-first > c.MinKeep {
				break
			}
		}
		shortest = min(shortest, len(m.Context)-first)
		m.ContextOff = append(m.ContextOff, int32(len(m.Context)))
	}
	for b := range batch {
		copy(m.Context[b*shortest:(b+1)*shortest], m.Context[m.ContextOff[b]:])
	}
	m.level(shortest)
}

// compatSize is the official code's block size.
func (c MaskConfig) compatSize(scale, aspect float64) size {
	return c.compatKeep(math.Floor(float64(c.GridH*c.GridW)*scale), aspect)
}

func (c MaskConfig) compatKeep(keep, aspect float64) size {
	return size{
		min(int(math.RoundToEven(math.Sqrt(keep*aspect))), c.GridH-1),
		min(int(math.RoundToEven(math.Sqrt(keep/aspect))), c.GridW-1),
	}
}

// compatExtremes are the smallest and largest areas among the official code's blocks. Their patches to keep are a
// step function of the one draw; along a step the height never falls and the width never rises, so for each height
// the ends of its stretch have the extreme widths. Ends count as drawn, whichever way they round.
func (c MaskConfig) compatExtremes(scale, aspect [2]float64) (least, most int) {
	n := float64(c.GridH * c.GridW)
	least = c.GridH * c.GridW
	draw := func(keep float64) float64 { // the draw at which keep is reached
		if scale[1] == scale[0] {
			return 0
		}
		return (keep/n - scale[0]) / (scale[1] - scale[0])
	}
	for keep := math.Floor(n * scale[0]); keep <= n*scale[1]; keep++ {
		if keep == 0 {
			least = 0
			continue
		}
		// The nearer the two scales, the less of the draw is left in their rounded mixture: step ends are as uncertain.
		slack := 0x1p-50 / (scale[1] - scale[0]) // +Inf for equal scales: the whole range
		from, to := max(0, draw(keep)-slack), min(1, draw(keep+1)+slack)
		a0, a1 := between(aspect, from), between(aspect, to)
		for h := int(math.Sqrt(keep * a0)); h <= int(math.Sqrt(keep*a1))+1; h++ {
			lo, hi := max(float64(h)-0.5, 0), float64(h)+0.5
			if lo, hi = max(a0, lo*lo/keep), min(a1, hi*hi/keep); lo > hi {
				continue
			}
			for _, a := range [2]float64{lo, hi} {
				s := size{min(h, c.GridH-1), c.compatKeep(keep, a).w}
				least, most = min(least, s.area()), max(most, s.area())
			}
		}
	}
	return least, most
}

// mark hides a block without listing it.
func (s *Sampler) mark(at place, sz size) {
	for y := at.y; y < at.y+sz.h; y++ {
		for x := at.x; x < at.x+sz.w; x++ {
			s.hidden[y*s.c.GridW+x] = true
		}
	}
}
