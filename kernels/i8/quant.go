package i8

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Chains. The NEON kernel without SDOT adds chainLen int8 products in an int16 lane before it widens the sum:
// SMULL, SMLAL2, SMLAL, SMLAL2 over the k = i, i+8, i+16, i+24 of a block of chainBlock. With activations down to -128
// that is exact if the magnitudes of the four weights add to at most chainMax: 128 * 255 = 32640 <= 32767.
//
// AVX2 gains by the rule as well: VPMADDUBSW on |a| and w with the sign of a, twice, and VPADDW. The rule belongs to the
// weights' format, on every machine: it costs 0.7 dB of signal to noise on Gaussian weights, where 7-bit weights would
// cost 6, and one set of weights is then exact and fast everywhere. Weights that break it, such as activations in a
// weight gradient, take kernels that add pairs in int16 (2 * 128 * 127 = 32512); SDOT, SMMLA and VPDPBUSD add in int32
// and do not care. The tighter rule under which VPMADDUBSW would not saturate on a+128 (neighbouring magnitudes add to at
// most 128) costs 2 to 3 dB.
const (
	chainLen   = 4
	chainBlock = 32
	chainLanes = chainBlock / chainLen
	chainMax   = 255
)

// tinyRow is the magnitude below which a row counts as zero: 127/absmax and absmax/127 stay normal numbers.
const tinyRow = 0x1p-100

// infBits is the bit pattern of +Inf; the pattern of |x| is above it for a NaN and below it for a finite x.
const infBits = 0x7f800000

// nonFinite is the scale of a row with a NaN or an infinity.
var nonFinite = math.Float32frombits(0x7fc00000)

// QuantizeRows quantises each row of x [rows, cols] symmetrically, with a scale of its own:
//
//	absmax = max |x[i,j]|;  scale[i] = absmax/127
//	q[i*ldq+j] = roundToEven(clamp(x[i,j] * (127/absmax), -127, 127))
//
// A row whose absmax is below 2^-100 counts as zero: scale 0, q 0. A row with a NaN or an infinity gets scale NaN and
// q 0, so that Dequant shows it. The error of x ~ q*scale is at most scale/2 (1+2^-14) per value.
func QuantizeRows(q []int8, scale []float32, x []float32, rows, cols, ldq int) {
	if rows == 0 || cols == 0 {
		return
	}
	if ldq < cols || len(x) < rows*cols || len(scale) < rows || len(q) < (rows-1)*ldq+cols {
		panic("i8: QuantizeRows: an operand is smaller than its shape")
	}
	step := max(1, quantCall/cols)
	for i := 0; i < rows; i += step {
		n := min(step, rows-i)
		if !quantizeRows(q[i*ldq:], ldq, scale[i:], x[i*cols:], n, cols) {
			quantizeRowByRow(q[i*ldq:], ldq, scale[i:], x[i*cols:], n, cols)
		}
	}
}

func quantizeRowByRow(q []int8, ldq int, scale, x []float32, rows, cols int) {
	for i := range rows {
		qi, xi := q[i*ldq:i*ldq+cols], x[i*cols:(i+1)*cols]
		var inv float32
		if scale[i], inv = symmetricScale(maxAbsBits(xi)); inv == 0 {
			clear(qi)
		} else {
			quantize(qi, xi, inv)
		}
	}
}

// symmetricScale is the scale of values with the largest magnitude absmax, given as a bit pattern, and what they are to
// be multiplied with: 0 where there is nothing to multiply, the values being zero or not finite.
func symmetricScale(absmax uint32) (scale, inv float32) {
	m := math.Float32frombits(absmax)
	switch {
	case absmax >= infBits:
		return nonFinite, 0
	case m < tinyRow:
		return 0, 0
	}
	return m / 127, 127 / m
}

// QuantizeWeights quantises w [n, k] symmetrically per output channel, under the chain rule of CheckChains:
//
//	scale[j] = max(max |w[j,·]| / 127, max over chains of (|w1|+|w2|+|w3|+|w4|) / 253)
//	q[j*k+i] = roundToEven(clamp(w[j*k+i] * (1/scale[j]), -127, 127))
//
// Rounding adds at most 1/2 to each of the four magnitudes, so a chain ends at 253 + 2 = 255 at most. Rows of zeros and
// rows that are not finite are treated as in QuantizeRows.
func QuantizeWeights(q []int8, scale []float32, w []float32, n, k int) {
	if len(w) < n*k || len(scale) < n || len(q) < n*k {
		panic("i8: QuantizeWeights: an operand is smaller than its shape")
	}
	for j := range n {
		qj, wj := q[j*k:(j+1)*k], w[j*k:(j+1)*k]
		absmax := math.Float32frombits(maxAbsBits(wj))
		chain := math.Float32frombits(maxChain(wj))
		switch {
		case math.Float32bits(absmax) >= infBits || math.Float32bits(chain) >= infBits:
			scale[j] = nonFinite
			clear(qj)
		case absmax < tinyRow:
			scale[j] = 0
			clear(qj)
		default:
			scale[j] = max(absmax/127, chain/(chainMax-chainLen/2))
			quantize(qj, wj, 1/scale[j])
		}
	}
}

// CheckChains says whether int8 weights q [n, k] obey the format: no -128, and in each block of 32 k the magnitudes at
// i, i+8, i+16, i+24 add to at most 255. The error names the first channel that does not.
func CheckChains(q []int8, n, k int) error {
	if n < 0 || k < 0 || len(q) < n*k {
		return fmt.Errorf("int8 weights [%d, %d] need %d values, have %d", n, k, n*k, len(q))
	}
	q = q[:n*k]
	if hasMinInt8(q) {
		for i, v := range q {
			if v == -128 {
				return fmt.Errorf("int8 weight of channel %d at k %d is -128; the range is -127 to 127", i/k, i%k)
			}
		}
	}
	if j := brokenChain(q, n, k); j >= 0 {
		return fmt.Errorf("int8 weights of channel %d: four magnitudes that are 8 apart in a block of 32 add to more than %d",
			j, chainMax)
	}
	return nil
}

// brokenChain is the first row of q [n, k] that breaks the chain rule, or -1. No value may be -128.
func brokenChain(q []int8, n, k int) int {
	whole := k &^ (chainBlock - 1)
	if whole == k && !brokenBlocks(q[:n*k]) {
		return -1
	}
	for j := range n {
		row := q[j*k : (j+1)*k]
		if brokenBlocks(row[:whole]) {
			return j
		}
		if whole < k {
			var last [chainBlock]int8
			copy(last[:], row[whole:])
			if !chainsFit(last[:]) {
				return j
			}
		}
	}
	return -1
}

// brokenBlocksGeneric says whether any block of q breaks the chain rule; the length is a multiple of 32.
func brokenBlocksGeneric(q []int8) bool {
	for ; len(q) >= chainBlock; q = q[chainBlock:] {
		if !chainsFit(q) {
			return true
		}
	}
	return false
}

// chainsFit adds the magnitudes of a block's eight chains, four chains to a word with 16 bits each.
func chainsFit(block []int8) bool {
	const low = 0x00ff00ff00ff00ff
	b := asBytes(block[:chainBlock])
	var even, odd uint64
	for i := 0; i < chainBlock; i += chainLanes {
		x := binary.LittleEndian.Uint64(b[i:])
		sign := x >> 7 & 0x0101010101010101
		abs := (x ^ sign*0xff) + sign
		even += abs & low
		odd += abs >> 8 & low
	}
	return (even|odd)&^low == 0
}

// Dequant turns int32 sums back into float32: for every i < rows and j < cols
//
//	dst[i*ldd+j] = float32(acc[i*ldacc+j]) * (sa[i] * sw[j]) + bias[j]
//
// with sa the scales of the activation rows, sw those of the output channels, each operation rounded on its own. With
// a nil bias the addition is left out. dst must not overlap the other operands.
func Dequant(dst []float32, ldd int, acc []int32, ldacc int, rows, cols int, sa, sw, bias []float32) {
	if rows == 0 || cols == 0 {
		return
	}
	if ldd < cols || ldacc < cols || len(dst) < (rows-1)*ldd+cols || len(acc) < (rows-1)*ldacc+cols ||
		len(sa) < rows || len(sw) < cols || (bias != nil && len(bias) < cols) {
		panic("i8: Dequant: an operand is smaller than its shape")
	}
	sw = sw[:cols]
	if bias != nil {
		bias = bias[:cols]
	}
	step := max(1, quantCall/cols)
	for i := 0; i < rows; i += step {
		dequant(dst[i*ldd:], ldd, acc[i*ldacc:], ldacc, min(step, rows-i), cols, sa[i:], sw, bias)
	}
}

// quantCall bounds one call into assembly, in values: a goroutine cannot be preempted inside it.
const quantCall = 1 << 14
