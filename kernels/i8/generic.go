package i8

import "math"

// The reference of the int8 kernels, compiled everywhere.

// gemmGeneric is Gemm on inRuns, two rows by four channels at a time. An odd last row is paired with itself.
func gemmGeneric(acc []int32, ldacc int, a []int8, lda, m int, p *Panels) {
	for j := 0; j < p.N; j += 4 {
		panel := p.data[j*p.kp : (j+4)*p.kp]
		end := min(j+4, p.N)
		for i := 0; i < m; i += 2 {
			i1 := min(i+1, m-1)
			sum0, sum1 := dotRuns(a[i*lda:i*lda+p.K], a[i1*lda:i1*lda+p.K], panel)
			copy(acc[i*ldacc+j:i*ldacc+end], sum0[:])
			copy(acc[i1*ldacc+j:i1*ldacc+end], sum1[:])
		}
	}
}

// dotRuns is the products of rows x and y with the four channels of a panel.
func dotRuns(x, y, panel []int8) (sumX, sumY [4]int32) {
	var s pairSums
	for ; len(x) >= chainBlock && len(y) >= chainBlock; x, y = x[chainBlock:], y[chainBlock:] {
		s.addBlock((*[chainBlock]int8)(x), (*[chainBlock]int8)(y), (*[4 * chainBlock]int8)(panel))
		panel = panel[4*chainBlock:]
	}
	if len(x) > 0 {
		var lastX, lastY [chainBlock]int8
		copy(lastX[:], x)
		copy(lastY[:], y)
		s.addBlock(&lastX, &lastY, (*[4 * chainBlock]int8)(panel))
	}
	return splitSums(s.x01, s.x23), splitSums(s.y01, s.y23)
}

// pairSums are sums of two rows, two channels to a word. A multiplication serves both channels:
// a * (w0 + w1<<32) = a*w0 + a*w1<<32, and the sum of such terms is exact in int64 as long as both sums fit int32.
type pairSums struct{ x01, x23, y01, y23 int64 }

// addBlock adds a block of k to the sums. Kept apart from the loop over blocks, its values stay in registers.
func (s *pairSums) addBlock(x, y *[chainBlock]int8, w *[4 * chainBlock]int8) {
	var x01, x23, y01, y23 int64
	for k := range chainBlock {
		w01 := int64(w[k]) + int64(w[k+chainBlock])<<32
		w23 := int64(w[k+2*chainBlock]) + int64(w[k+3*chainBlock])<<32
		vx, vy := int64(x[k]), int64(y[k])
		x01 += vx * w01
		x23 += vx * w23
		y01 += vy * w01
		y23 += vy * w23
	}
	s.x01 += x01
	s.x23 += x23
	s.y01 += y01
	s.y23 += y23
}

// splitSums takes the sums s0 + s1<<32 and s2 + s3<<32 apart: a negative low half has borrowed from the high one.
func splitSums(s01, s23 int64) [4]int32 {
	s0, s2 := int32(s01), int32(s23)
	return [4]int32{s0, int32((s01 - int64(s0)) >> 32), s2, int32((s23 - int64(s2)) >> 32)}
}

// maxAbsBitsGeneric is the largest bit pattern of |x|. Patterns order as magnitudes do, with NaN above infinity, so the
// result does not depend on the order of the comparisons.
func maxAbsBitsGeneric(x []float32) uint32 {
	var m uint32
	for _, v := range x {
		m = max(m, math.Float32bits(v)&^(1<<31))
	}
	return m
}

// maxChainGeneric is the largest ((|w[i]|+|w[i+8]|)+|w[i+16]|)+|w[i+24]| over the chains of w, absent values counting as
// zero, as a bit pattern: the largest pattern decides, so that a NaN is not lost.
func maxChainGeneric(w []float32) uint32 {
	var m uint32
	var last [chainBlock]float32
	for len(w) > 0 {
		b := &last
		if len(w) >= chainBlock {
			b = (*[chainBlock]float32)(w)
			w = w[chainBlock:]
		} else {
			copy(last[:], w)
			w = nil
		}
		for i := range chainLanes {
			s := abs32(b[i]) + abs32(b[i+chainLanes]) + abs32(b[i+2*chainLanes]) + abs32(b[i+3*chainLanes])
			m = max(m, math.Float32bits(s)&^(1<<31))
		}
	}
	return m
}

func abs32(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

// quantizeGeneric is q[i] = roundToEven(clamp(x[i]*inv, -127, 127)) for finite products.
func quantizeGeneric(q []int8, x []float32, inv float32) {
	q = q[:len(x)]
	for i, v := range x {
		q[i] = roundNearest(float32(v * inv))
	}
}

// roundNearest is roundToEven(clamp(t, -127, 127)). Adding 1.5 * 2^23 leaves no bit below 1, so the sum's rounding, to
// even, is the one wanted, and its low bits are the integer.
func roundNearest(t float32) int8 {
	const magic = 0x1.8p23
	return int8(math.Float32bits(min(max(t, -127), 127) + magic))
}

// dequantGeneric is columns [j0, cols) of Dequant.
func dequantGeneric(dst []float32, ldd int, acc []int32, ldacc, rows, j0, cols int, sa, sw, bias []float32) {
	sw = sw[j0:cols]
	if bias != nil {
		bias = bias[j0:cols]
	}
	for i := range rows {
		d, s := dst[i*ldd+j0:i*ldd+cols], sa[i]
		for j, v := range acc[i*ldacc+j0 : i*ldacc+cols] {
			d[j] = float32(float32(v) * float32(s*sw[j]))
		}
		for j, b := range bias {
			d[j] += b
		}
	}
}

// addDequantGeneric adds to dst what dequantGeneric stores.
func addDequantGeneric(dst []float32, ldd int, acc []int32, ldacc, rows, j0, cols int, sa, sw, bias []float32) {
	sw = sw[j0:cols]
	if bias != nil {
		bias = bias[j0:cols]
	}
	for i := range rows {
		d, s := dst[i*ldd+j0:i*ldd+cols], sa[i]
		for j, v := range acc[i*ldacc+j0 : i*ldacc+cols] {
			y := float32(float32(v) * float32(s*sw[j]))
			if bias != nil {
				y += bias[j]
			}
			d[j] += y
		}
	}
}
