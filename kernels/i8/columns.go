package i8

import (
	"math"

	"edgejepa/internal/noise"
)

// QuantizeColumns quantises each column of x [rows, cols], rows ldx apart, symmetrically with a scale of its own, and
// transposes: q is [cols, rows] with rows ldq apart.
//
//	absmax = max |x[·,j]|;  scale[j] = absmax/127
//	q[j*ldq+i] = roundToEven(clamp(x[i,j] * (127/absmax), -127, 127))
//
// It makes operands of a weight gradient dyᵀ·x, whose inner dimension are the rows. Columns of zeros and columns that
// are not finite are treated as in QuantizeRows.
func QuantizeColumns(q []int8, ldq int, scale []float32, x []float32, rows, cols, ldx int) {
	c := columnsI8{q: q, ldq: ldq, scale: scale, x: x, rows: rows, cols: cols, ldx: ldx}
	c.run()
}

// QuantizeColumnsStochastic is QuantizeColumns with the rounding of QuantizeRowsStochastic. Value x[i,j] takes the noise
// of place i*cols+j, as there.
func QuantizeColumnsStochastic(q []int8, ldq int, scale []float32, x []float32, rows, cols, ldx int, bits noise.Stream) {
	c := columnsI8{q: q, ldq: ldq, scale: scale, x: x, rows: rows, cols: cols, ldx: ldx, stochastic: true, bits: bits}
	c.run()
}

// columnsI8 is one call of QuantizeColumns.
type columnsI8 struct {
	q          []int8
	scale, x   []float32
	rows, cols int
	ldq, ldx   int
	stochastic bool
	bits       noise.Stream
	absmax     [columnStrip]uint32
	inv        [columnStrip]float32
}

// columnStrip is how many columns are done at a time, at most: 64 and what is left over if that is less than 8.
const columnStrip = 64 + 8

func (c *columnsI8) run() {
	if c.rows == 0 || c.cols == 0 {
		return
	}
	if c.ldq < c.rows || c.ldx < c.cols || len(c.x) < (c.rows-1)*c.ldx+c.cols || len(c.scale) < c.cols ||
		len(c.q) < (c.cols-1)*c.ldq+c.rows {
		panic("i8: QuantizeColumns: an operand is smaller than its shape")
	}
	for j, n := 0, 0; j < c.cols; j += n {
		if n = min(64, c.cols-j); c.cols-j-n < 8 {
			n = c.cols - j
		}
		c.strip(j, n)
	}
}

// strip does columns [j, j+n).
func (c *columnsI8) strip(j, n int) {
	absmax := c.absmax[:n]
	clear(absmax)
	step := quantCall / columnStrip
	for i := 0; i < c.rows; i += step {
		maxAbsColumns(absmax, c.x[i*c.ldx+j:], min(step, c.rows-i), c.ldx)
	}
	for i, m := range absmax {
		c.scale[j+i], c.inv[i] = symmetricScale(m)
	}
	c.quantize(j, n)
	for i, m := range absmax {
		if m >= infBits { // 0 times what is not finite
			clear(c.q[(j+i)*c.ldq:][:c.rows])
		}
	}
}

// quantizeGeneric does columns [j, j+n).
func (c *columnsI8) quantizeGeneric(j, n int) {
	key, at := c.bits.Key, c.bits.Lane()
	for i := range c.rows {
		for l, v := range c.x[i*c.ldx+j : i*c.ldx+j+n] {
			t := float32(v * c.inv[l])
			d := &c.q[(j+l)*c.ldq+i]
			if c.stochastic {
				*d = roundByChance(t, noise.FromLane(key, at+uint32(i*c.cols+j+l)))
			} else {
				*d = roundNearest(t)
			}
		}
	}
}

// maxAbsColumnsGeneric is absmax[j] = max(absmax[j], bits of |x[·,j]|).
func maxAbsColumnsGeneric(absmax []uint32, x []float32, rows, ldx int) {
	for i := range rows {
		for j, v := range x[i*ldx:][:len(absmax)] {
			absmax[j] = max(absmax[j], math.Float32bits(v)&^(1<<31))
		}
	}
}
