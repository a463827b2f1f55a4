package kernels

import (
	"math"
	"unsafe"
)

// tileF32Generic is the tile kernel in Go, on every machine: the reference of the assembly, bit for bit.
func tileF32Generic(t *tile) {
	c, init := unsafe.Pointer(t.c), unsafe.Pointer(t.init)
	if t.c == nil {
		c, init = unsafe.Pointer(&t.edge), unsafe.Pointer(&t.edge)
	}
	for i := range t.rows {
		a := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(t.a), 4*(i/MR*t.bsA+i%MR*t.rsA))), (t.k-1)*t.csA+1)
		b := unsafe.Slice(t.b, (t.k-1)*t.csB/4+NR)
		acc := *(*[NR]float32)(unsafe.Add(init, 4*i*t.ldInit))
		for k := range t.k {
			x := a[k*t.csA]
			row := (*[NR]float32)(b[k*t.csB/4:])
			for j, y := range row {
				acc[j] = fma32(x, y, acc[j])
			}
		}
		*(*[NR]float32)(unsafe.Add(c, 4*i*t.ldc)) = acc
	}
}

// fma32 is x*y + z rounded once to float32. The product is exact in float64; the sum is rounded to odd there
// (Boldo and Melquiond 2008), which makes the second rounding, to float32, the only one that counts.
func fma32(x, y, z float32) float32 {
	p := float64(float64(x) * float64(y))
	s := p + float64(z)
	bits := math.Float64bits(s)
	// Only a sum whose low 29 bits are exactly a tie or zero can round differently after a second rounding.
	if low := bits & (1<<29 - 1); low&(1<<28-1) != 0 {
		return float32(s)
	}
	// TwoSum: e is the exact error of s.
	v := s - p
	e := (p - (s - v)) + (float64(z) - v)
	if e != 0 && e == e { // step towards the exact sum: the odd neighbour on e's side
		if (e > 0) == (s > 0) {
			bits++
		} else {
			bits--
		}
		s = math.Float64frombits(bits)
	}
	return float32(s)
}
