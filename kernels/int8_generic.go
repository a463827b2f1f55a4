package kernels

import "math"

// The reference of the int8 kernels, compiled everywhere.

// gemmI8Generic is GemmI8 on i8Runs: four channels at a time, so that an activation is read once for four weights.
func gemmI8Generic(acc []int32, ldacc int, a []int8, lda, m int, p *PanelsI8) {
	for j := 0; j < p.N; j += 4 {
		panel := p.data[j*p.kp : (j+4)*p.kp]
		for i := range m {
			sum := dot4I8(a[i*lda:i*lda+p.K], panel)
			copy(acc[i*ldacc+j:i*ldacc+min(j+4, p.N)], sum[:])
		}
	}
}

// dot4I8 is the product of one row with the four channels of an i8Runs panel.
func dot4I8(row, panel []int8) (sum [4]int32) {
	var s0, s1, s2, s3 int32
	var last [chainBlock]int8
	for len(row) > 0 {
		x := &last
		if len(row) >= chainBlock {
			x = (*[chainBlock]int8)(row)
			row = row[chainBlock:]
		} else {
			copy(last[:], row)
			row = nil
		}
		w := (*[4 * chainBlock]int8)(panel)
		panel = panel[4*chainBlock:]
		for k := 0; k < chainBlock; k++ {
			v := int32(x[k])
			s0 += v * int32(w[k])
			s1 += v * int32(w[k+chainBlock])
			s2 += v * int32(w[k+2*chainBlock])
			s3 += v * int32(w[k+3*chainBlock])
		}
	}
	return [4]int32{s0, s1, s2, s3}
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

// quantizeGeneric is q[i] = roundToEven(clamp(x[i]*inv, -127, 127)) for finite products. Adding 1.5 * 2^23 leaves no bit
// below 1, so the sum's rounding, to even, is the one wanted, and its low bits are the integer.
func quantizeGeneric(q []int8, x []float32, inv float32) {
	const magic = 0x1.8p23
	q = q[:len(x)]
	for i, v := range x {
		v = min(max(float32(v*inv), -127), 127)
		q[i] = int8(math.Float32bits(v + magic))
	}
}

// dequantGeneric is one row of Dequant.
func dequantGeneric(dst []float32, acc []int32, sa float32, sw, bias []float32) {
	dst, sw = dst[:len(acc)], sw[:len(acc)]
	if bias == nil {
		for j, v := range acc {
			dst[j] = float32(float32(v) * float32(sa*sw[j]))
		}
		return
	}
	bias = bias[:len(acc)]
	for j, v := range acc {
		dst[j] = float32(float32(v)*float32(sa*sw[j])) + bias[j]
	}
}
