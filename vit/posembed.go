package vit

import "edgejepa/fp"

// SinCos2D returns the fixed position embedding [gridH*gridW, dim] of the official I-JEPA code, patches in row-major
// order. The first half of a vector encodes the column and the second the row, each as
//
//	sin(p w_0) … sin(p w_{dim/4-1}), cos(p w_0) … cos(p w_{dim/4-1}),  w_i = 10000^(-i/(dim/4))
//
// It panics unless dim is a multiple of 4.
func SinCos2D(dim, gridH, gridW int) []float32 { return sinCos2D(dim, gridH, gridW, 0) }

// sinCos2D is SinCos2D of a grid that is laid over another of side by side patches: patch i of n is at
// (i + 1/2) side/n - 1/2 of the other, the middle of the pixels that it covers. A side of 0 is the grid's own.
func sinCos2D(dim, gridH, gridW, side int) []float32 {
	if dim%4 != 0 {
		panic("vit: SinCos2D: dim must be a multiple of 4")
	}
	const ln10000 = 9.210340371976182736
	pos := make([]float32, gridH*gridW*dim)
	n := dim / 4
	for i := range n {
		omega := fp.Exp(-ln10000 * float64(i) / float64(n))
		for r := range gridH {
			for c := range gridW {
				v := pos[(r*gridW+c)*dim:]
				x, y := overlaid(c, gridW, side)*omega, overlaid(r, gridH, side)*omega
				v[i], v[n+i] = float32(fp.Sin(x)), float32(fp.Cos(x))
				v[2*n+i], v[3*n+i] = float32(fp.Sin(y)), float32(fp.Cos(y))
			}
		}
	}
	return pos
}

// overlaid is where the middle of cell i of n is among side cells of the same extent.
func overlaid(i, n, side int) float64 {
	if side == 0 || side == n {
		return float64(i)
	}
	return float64((float64(i)+0.5)*float64(side)/float64(n)) - 0.5
}
