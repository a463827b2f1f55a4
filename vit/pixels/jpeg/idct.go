package jpeg

// The inverse DCT of 8, 4, 2 or 1 points, of the coefficients F as T.81 scales them (A.3.3), is
//
//	f(x) = 1/2 sum over u < k of C(u) F(u) cos((2x+1) u pi / 2k), C(0) = 1/sqrt(2), else 1
//
// so that the lowest k coefficients of 8 give the 8 pixels reduced to k, at the same brightness. It is computed as
// sqrt(8) times that: the two passes over a block, columns and rows, leave a division by 8. The 8 points take the eleven
// multiplications of Loeffler, Ligtenberg and Moschytz (ICASSP 1989) in 13 bits of fraction, and the columns are rounded to
// two bits of fraction, as libjpeg does; the 4 points are the rotation that the 8 have in their even half.
//
// Overflow, which a damaged file can bring about, wraps and is clamped.
const (
	fraction  = 13 // bits of a constant
	midway    = 2  // bits of fraction between the passes
	colShift  = fraction - midway
	rowShift  = fraction + midway + 3
	thinShift = midway + 3 // rows without multiplication

	colRound  = 1 << (colShift - 1)
	rowRound  = 128<<rowShift + 1<<(rowShift-1) // and the level shift of T.81, A.3.1
	thinRound = 128<<thinShift + 1<<(thinShift-1)
)

// Constants of the flow graph in 13 bits: 8192 times the number in the name.
const (
	c0298631336 = 2446
	c0390180644 = 3196
	c0541196100 = 4433
	c0765366865 = 6270
	c0899976223 = 7373
	c1175875602 = 9633
	c1501321110 = 12299
	c1847759065 = 15137
	c1961570560 = 16069
	c2053119869 = 16819
	c2562915447 = 20995
	c3072711026 = 25172
)

// transform writes kx by ky pixels made of coefficients in natural order to dst, whose rows are p.stride apart. flat says
// that only the first coefficient is other than zero.
func (p *plane) transform(coef *[64]int32, dst []uint8, flat bool) {
	if flat || p.kx*p.ky == 1 {
		v := clamp((coef[0]<<midway + thinRound) >> thinShift)
		for y := range p.ky {
			row := dst[y*p.stride:][:p.kx]
			for x := range row {
				row[x] = v
			}
		}
		return
	}
	switch p.ky {
	case 8:
		columns8(coef, p.kx)
	case 4:
		columns4(coef, p.kx)
	case 2:
		columns2(coef, p.kx)
	default:
		columns1(coef, p.kx)
	}
	switch p.kx {
	case 8:
		rows8(dst, p.stride, coef, p.ky)
	case 4:
		rows4(dst, p.stride, coef, p.ky)
	case 2:
		rows2(dst, p.stride, coef, p.ky)
	default:
		rows1(dst, p.stride, coef, p.ky)
	}
}

// columns8 transforms the first n columns in place.
func columns8(c *[64]int32, n int) {
	for x := range n & 15 {
		c := c[x&7:][:57:57]
		s1, s2, s3, s4, s5, s6, s7 := c[8], c[16], c[24], c[32], c[40], c[48], c[56]
		if s1|s2|s3|s4|s5|s6|s7 == 0 {
			v := c[0] << midway
			c[0], c[8], c[16], c[24], c[32], c[40], c[48], c[56] = v, v, v, v, v, v, v, v
			continue
		}
		z := (s2 + s6) * c0541196100
		t2, t3 := z-s6*c1847759065, z+s2*c0765366865
		t0, t1 := (c[0]+s4)<<fraction+colRound, (c[0]-s4)<<fraction+colRound
		e0, e1, e2, e3 := t0+t3, t1+t2, t1-t2, t0-t3

		z5 := (s7 + s3 + s5 + s1) * c1175875602
		z1, z2 := (s7+s1)*-c0899976223, (s5+s3)*-c2562915447
		z3, z4 := (s7+s3)*-c1961570560+z5, (s5+s1)*-c0390180644+z5
		o0, o1 := s7*c0298631336+z1+z3, s5*c2053119869+z2+z4
		o2, o3 := s3*c3072711026+z2+z3, s1*c1501321110+z1+z4

		c[0], c[56] = (e0+o3)>>colShift, (e0-o3)>>colShift
		c[8], c[48] = (e1+o2)>>colShift, (e1-o2)>>colShift
		c[16], c[40] = (e2+o1)>>colShift, (e2-o1)>>colShift
		c[24], c[32] = (e3+o0)>>colShift, (e3-o0)>>colShift
	}
}

// rows8 transforms the first n rows, of 8 coefficients each.
func rows8(dst []uint8, stride int, c *[64]int32, n int) {
	for y := range n & 15 {
		c := c[(8*y)&56:][:8:8]
		s1, s2, s3, s4, s5, s6, s7 := c[1], c[2], c[3], c[4], c[5], c[6], c[7]
		d := dst[y*stride:][:8:8]
		z := (s2 + s6) * c0541196100
		t2, t3 := z-s6*c1847759065, z+s2*c0765366865
		t0, t1 := (c[0]+s4)<<fraction+rowRound, (c[0]-s4)<<fraction+rowRound
		e0, e1, e2, e3 := t0+t3, t1+t2, t1-t2, t0-t3

		z5 := (s7 + s3 + s5 + s1) * c1175875602
		z1, z2 := (s7+s1)*-c0899976223, (s5+s3)*-c2562915447
		z3, z4 := (s7+s3)*-c1961570560+z5, (s5+s1)*-c0390180644+z5
		o0, o1 := s7*c0298631336+z1+z3, s5*c2053119869+z2+z4
		o2, o3 := s3*c3072711026+z2+z3, s1*c1501321110+z1+z4

		d[0], d[7] = clamp((e0+o3)>>rowShift), clamp((e0-o3)>>rowShift)
		d[1], d[6] = clamp((e1+o2)>>rowShift), clamp((e1-o2)>>rowShift)
		d[2], d[5] = clamp((e2+o1)>>rowShift), clamp((e2-o1)>>rowShift)
		d[3], d[4] = clamp((e3+o0)>>rowShift), clamp((e3-o0)>>rowShift)
	}
}

func columns4(c *[64]int32, n int) {
	for x := range n & 15 {
		c := c[x&7:][:25:25]
		s0, s1, s2, s3 := c[0], c[8], c[16], c[24]
		z := (s1 + s3) * c0541196100
		o0, o1 := z+s1*c0765366865, z-s3*c1847759065
		e0, e1 := (s0+s2)<<fraction+colRound, (s0-s2)<<fraction+colRound
		c[0], c[24] = (e0+o0)>>colShift, (e0-o0)>>colShift
		c[8], c[16] = (e1+o1)>>colShift, (e1-o1)>>colShift
	}
}

func rows4(dst []uint8, stride int, c *[64]int32, n int) {
	for y := range n & 15 {
		c := c[(8*y)&56:][:4:4]
		s0, s1, s2, s3 := c[0], c[1], c[2], c[3]
		d := dst[y*stride:][:4:4]
		z := (s1 + s3) * c0541196100
		o0, o1 := z+s1*c0765366865, z-s3*c1847759065
		e0, e1 := (s0+s2)<<fraction+rowRound, (s0-s2)<<fraction+rowRound
		d[0], d[3] = clamp((e0+o0)>>rowShift), clamp((e0-o0)>>rowShift)
		d[1], d[2] = clamp((e1+o1)>>rowShift), clamp((e1-o1)>>rowShift)
	}
}

func columns2(c *[64]int32, n int) {
	for x := range n & 15 {
		c := c[x&7:][:9:9]
		c[0], c[8] = (c[0]+c[8])<<midway, (c[0]-c[8])<<midway
	}
}

func rows2(dst []uint8, stride int, c *[64]int32, n int) {
	for y := range n & 15 {
		c := c[(8*y)&56:][:2:2]
		d := dst[y*stride:][:2:2]
		d[0], d[1] = clamp((c[0]+c[1]+thinRound)>>thinShift), clamp((c[0]-c[1]+thinRound)>>thinShift)
	}
}

func columns1(c *[64]int32, n int) {
	for x := range n {
		c[x&7] <<= midway
	}
}

func rows1(dst []uint8, stride int, c *[64]int32, n int) {
	for y := range n {
		dst[y*stride] = clamp((c[(8*y)&56] + thinRound) >> thinShift)
	}
}

// clamp returns v as a sample.
func clamp(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^(v >> 31)) // 0 below, 255 above
	}
	return uint8(v)
}
