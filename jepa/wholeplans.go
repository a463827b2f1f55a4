package jepa

import "iter"

// Plans and counts for the objectives that take whole batches: all but I-JEPA.

// wholePlans lists the plans from the fastest to the leanest: backward passes go through their rows in segments, then
// activations are recomputed of the first block, of the first two, … of all and of the head, then segments get as small
// as they may and weights are packed in strips.
func wholePlans(c Config, threads int) iter.Seq[Plan] {
	return func(yield func(Plan) bool) {
		p := Plan{Segment: threadRows * max(threads, 2)}.of(c)
		for ; p.Recompute < c.Encoder.Depth; p.Recompute++ {
			if !yield(p) {
				return
			}
		}
		if !yield(p) {
			return
		}
		p.RecomputeHead = true
		leanest := p
		leanest.Segment, leanest.Strips = leanRows, true
		_ = yield(p) && yield(leanest)
	}
}

// seen is how many tokens the context encoder sees of a view, and of a whole batch.
func (c Config) seen() (tokens, rows int) {
	tokens = c.visiblePatches()
	return tokens, c.sequences() * tokens
}

// wholeMACs is MACs, without the small heads on pooled features.
func wholeMACs(c Config) float64 {
	e := c.Encoder
	tokens, rows := c.seen()
	trunk, patch := int64(e.Depth)*trunkMACs(tokens, e.Dim, e.Hidden()), int64(e.PatchLen()*e.Dim)
	n := int64(rows) * (3*trunk + 2*patch)
	switch c.Objective {
	case BYOL: // the target encoder
		n += int64(rows) * (trunk + patch)
	case MAE:
		w, all := c.PredictorDim, c.sequences()*e.Tokens()
		n += 3 * int64(all*c.PredictorDepth) * trunkMACs(e.Tokens(), w, 4*w)
		n += 3 * (int64(rows)*int64(e.Dim*w) + int64(all-rows)*int64(w*e.PatchLen()))
	}
	return float64(n)
}

// extraWholeMACs is extraMACs.
func (p Plan) extraWholeMACs(c Config) float64 {
	e := c.Encoder
	tokens, rows := c.seen()
	n := int64(rows*p.of(c).Recompute) * (trunkMACs(tokens, e.Dim, e.Hidden()) - int64(e.Dim*e.Hidden()))
	if w := c.PredictorDim; p.RecomputeHead && c.Objective == MAE {
		n += int64(c.sequences()*e.Tokens()*c.PredictorDepth) * (trunkMACs(e.Tokens(), w, 4*w) - int64(4*w*w))
	}
	return float64(n)
}
