package data

import (
	"math"

	"edgejepa/internal/rng"
)

// Shares of the views that a jitter changes, as in the recipes of joint-embedding methods (SimSiam, arXiv 2011.10566).
const (
	jitterShare = 0.8
	greyShare   = 0.2
)

// jitter changes brightness, contrast and saturation of most RGB pictures, in this order, each by a factor drawn from
// [1-strength, 1+strength], and makes some of them grey. The operations are torchvision's ColorJitter and RandomGrayscale,
// with factors in 4096ths: everything is in integers.
func jitter(s *rng.Source, pix []uint8, strength float64) {
	factor := func() int32 {
		return int32(math.RoundToEven(unitFactor * between(s, [2]float64{1 - strength, 1 + strength})))
	}
	if s.Float64() < jitterShare {
		brightness, contrast, saturation := factor(), factor(), factor()
		for i, v := range pix {
			pix[i] = blend(0, v, brightness)
		}
		mean := meanGrey(pix)
		for i, v := range pix {
			pix[i] = blend(mean, v, contrast)
		}
		fade(pix, saturation)
	}
	if s.Float64() < greyShare {
		fade(pix, 0)
	}
}

// unitFactor is a factor of 1.
const unitFactor = 1 << 12

// blend is from + factor·(to - from), rounded and kept within a byte.
func blend(from, to uint8, factor int32) uint8 {
	v := int32(from)*unitFactor + factor*(int32(to)-int32(from))
	return uint8(min(max(v+unitFactor/2, 0)/unitFactor, 255))
}

// fade moves each pixel from its grey by a factor: 0 leaves grey, 1 the pixel.
func fade(pix []uint8, factor int32) {
	for ; len(pix) >= 3; pix = pix[3:] {
		g := grey(pix)
		for c := range 3 {
			pix[c] = blend(g, pix[c], factor)
		}
	}
}

// grey is the luma of a pixel (ITU-R BT.601).
func grey(p []uint8) uint8 {
	return uint8((19595*uint32(p[0]) + 38470*uint32(p[1]) + 7471*uint32(p[2]) + 1<<15) >> 16)
}

// meanGrey is the mean of all pixels' grey, rounded.
func meanGrey(pix []uint8) uint8 {
	sum, n := 0, len(pix)/3
	for i := range n {
		sum += int(grey(pix[3*i:]))
	}
	return uint8((sum + n/2) / max(n, 1))
}
