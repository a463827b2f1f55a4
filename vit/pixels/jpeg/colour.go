package jpeg

// emitRows hands out the rows of pixels that a row of MCUs holds.
func (d *Decoder) emitRows(my int) {
	w, height := d.h.Size(8 / d.k)
	n := d.h.vMax * d.k
	halved := d.halved()
	for i := range d.h.components {
		d.planes[i].expanded = -1
	}
	for y := range min(n, height-my*n) {
		if halved {
			half := (w + 1) / 2
			convertHalved(d.rgb, d.planes[0].row(y)[:w], d.planes[1].row(y)[:half], d.planes[2].row(y)[:half])
		} else {
			var c [4][]uint8
			for i := range d.h.components {
				c[i] = d.row(i, y, w)
			}
			d.convert(d.rgb, c)
		}
		d.emit(my*n+y, d.rgb)
	}
}

// halved says whether pixels are YCbCr with a sample of chroma for two of luma in a row, as most cameras write them.
func (d *Decoder) halved() bool {
	if len(d.h.components) != 3 || d.h.isRGB() {
		return false
	}
	y, cb, cr := &d.planes[0], &d.planes[1], &d.planes[2]
	return y.spanX == y.stepX && cb.spanX == 2*cb.stepX && cr.spanX == 2*cr.stepX
}

// row returns the row of the strip for row y of its pixels.
func (p *plane) row(y int) []uint8 {
	return p.strip[p.stripRow(y)*p.stride:][:p.stride]
}

func (p *plane) stripRow(y int) int {
	if p.stepY == p.spanY {
		return y
	}
	return (2*y + 1) * p.stepY / (2 * p.spanY)
}

// row returns w samples of a component for row y of the strip's pixels. A sample serves all pixels whose centres it
// covers.
func (d *Decoder) row(component, y, w int) []uint8 {
	p := &d.planes[component]
	src := p.row(y)
	if p.stepX == p.spanX {
		return src[:w]
	}
	dst := d.rows[component][:w]
	if at := p.stripRow(y); p.expanded != at {
		p.expanded = at
		for x := range dst {
			dst[x] = src[(2*x+1)*p.stepX/(2*p.spanX)]
		}
	}
	return dst
}

// convert makes pixels of a row of samples. Whether three components are YCbCr or RGB, and four YCCK or CMYK, is guessed as
// libjpeg does: from the JFIF marker, Adobe's marker and the names of the components.
func (d *Decoder) convert(dst []uint8, c [4][]uint8) {
	switch h := d.h; len(h.components) {
	case 1:
		interleave(dst, c[0], c[0], c[0])
	case 3:
		if h.isRGB() {
			interleave(dst, c[0], c[1], c[2])
		} else {
			convertYCbCr(dst, c[0], c[1], c[2])
		}
	default: // Adobe stores ink inverted, as the share of light that is left; the YCbCr of YCCK is that of the ink
		if h.transform == 0 {
			interleave(dst, c[0], c[1], c[2])
		} else {
			convertYCbCr(dst, c[0], c[1], c[2])
			for i, v := range dst {
				dst[i] = ^v
			}
		}
		multiply(dst, c[3])
	}
}

func (h *Header) isRGB() bool {
	if h.jfif {
		return false
	}
	if h.adobe && h.transform == 0 {
		return true
	}
	return h.components[0].id == 'R' && h.components[1].id == 'G' && h.components[2].id == 'B'
}

func interleave(dst, r, g, b []uint8) {
	g, b = g[:len(r)], b[:len(r)]
	for x, v := range r {
		p := dst[3*x:][:3]
		p[0], p[1], p[2] = v, g[x], b[x]
	}
}

// convertYCbCr converts a row by the equations of JFIF in 16 bits of fraction, rounded to nearest.
func convertYCbCr(dst, luma, cb, cr []uint8) {
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	dst = dst[:3*len(luma)]
	for x, l := range luma {
		y, u, v := int32(l)<<16+1<<15, int32(cb[x])-128, int32(cr[x])-128
		r, g, b := y+91881*v, y-22554*u-46802*v, y+116130*u
		p := dst[3*x:][:3]
		p[0], p[1], p[2] = clamp16(r), clamp16(g), clamp16(b)
	}
}

// convertHalved is convertYCbCr with each sample of chroma for two pixels.
func convertHalved(dst, luma, cb, cr []uint8) {
	cr = cr[:len(cb)]
	for i, u := range cb {
		u, v := int32(u)-128, int32(cr[i])-128
		r, g, b := 91881*v+1<<15, -22554*u-46802*v+1<<15, 116130*u+1<<15
		if len(luma) < 2 {
			y := int32(luma[0]) << 16
			dst[0], dst[1], dst[2] = clamp16(y+r), clamp16(y+g), clamp16(y+b)
			return
		}
		y0, y1 := int32(luma[0])<<16, int32(luma[1])<<16
		p := dst[:6]
		p[0], p[1], p[2] = clamp16(y0+r), clamp16(y0+g), clamp16(y0+b)
		p[3], p[4], p[5] = clamp16(y1+r), clamp16(y1+g), clamp16(y1+b)
		luma, dst = luma[2:], dst[6:]
	}
}

// multiply dims a row by the light that black ink leaves.
func multiply(dst, k []uint8) {
	for x, v := range k {
		light := uint32(v) * 0x101
		p := dst[3*x:][:3]
		for i, s := range p {
			p[i] = uint8(uint32(s) * 0x101 * light / 0xffff >> 8)
		}
	}
}

// clamp16 returns v >> 16, clamped to a byte.
func clamp16(v int32) uint8 {
	if uint32(v)&0xff000000 == 0 {
		return uint8(v >> 16)
	}
	return uint8(^(v >> 31))
}
