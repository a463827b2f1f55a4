package vit

import "edgejepa/fp"

// SinCos2D returns the fixed position embedding [gridH*gridW, dim] of the official I-JEPA code, patches in row-major
// order. The first half of a vector encodes the column and the second the row, each as
//
//	sin(p w_0) … sin(p w_{dim/4-1}), cos(p w_0) … cos(p w_{dim/4-1}),  w_i = 10000^(-i/(dim/4))
//
// It panics unless dim is a multiple of 4.
func SinCos2D(dim, gridH, gridW int) []float32 {
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
				x, y := float64(c)*omega, float64(r)*omega
				v[i], v[n+i] = float32(fp.Sin(x)), float32(fp.Cos(x))
				v[2*n+i], v[3*n+i] = float32(fp.Sin(y)), float32(fp.Cos(y))
			}
		}
	}
	return pos
}
