package pixels

import (
	"image"
	"image/color"
)

// convert returns m as RGB over white, turned upright. Each row is converted by the loop of its type and then written
// where the orientation wants it, so the picture exists once.
func convert(m image.Image, orientation int) Image {
	b := m.Bounds()
	w, h := b.Dx(), b.Dy()
	row := rowReader(m)
	if orientation <= 1 {
		dst := NewImage(w, h)
		for y := range h {
			row(dst.Pix[3*w*y:3*w*(y+1)], y)
		}
		return dst
	}
	dst := NewImage(w, h)
	if orientation >= 5 {
		dst.W, dst.H = h, w
	}
	line := make([]uint8, 3*w)
	for y := range h {
		row(line, y)
		placeLine(dst.Pix, line, y, w, h, orientation)
	}
	return dst
}

// placeLine writes row y of a stored picture of w by h where it belongs in the upright one.
func placeLine(dst, line []uint8, y, w, h, orientation int) {
	if orientation <= 1 {
		copy(dst[3*w*y:3*w*(y+1)], line)
		return
	}
	start, step := placeRow(y, w, h, orientation)
	for x := range w {
		s, d := line[3*x:][:3], dst[start+x*step:][:3]
		d[0], d[1], d[2] = s[0], s[1], s[2]
	}
}

// placeRow returns where row y of a stored picture of w by h begins in the upright one, and the distance from each
// pixel to the next, both in bytes (EXIF 2.32, tag 274: where the stored row 0 and column 0 are in the scene).
func placeRow(y, w, h, orientation int) (start, step int) {
	switch orientation {
	case 2: // mirrored
		start, step = y*w+w-1, -1
	case 3: // upside down
		start, step = (h-1-y)*w+w-1, -1
	case 4:
		start, step = (h-1-y)*w, 1
	case 5: // transposed
		start, step = y, h
	case 6: // to be turned clockwise
		start, step = h-1-y, h
	case 7:
		start, step = (w-1)*h+h-1-y, -h
	case 8: // to be turned anticlockwise
		start, step = (w-1)*h+y, -h
	default:
		start, step = y*w, 1
	}
	return 3 * start, 3 * step
}

// rowReader returns a function that writes row y, counted from the top of the bounds, as RGB over white. The bounds of
// subsampled pictures start at (0, 0), as the decoders make them.
func rowReader(m image.Image) func(dst []uint8, y int) {
	b := m.Bounds()
	w := b.Dx()
	switch m := m.(type) {
	case *image.YCbCr:
		return func(dst []uint8, y int) { ycbcrRow(dst, m, y) }
	case *image.NYCbCrA:
		return func(dst []uint8, y int) {
			ycbcrRow(dst, &m.YCbCr, y)
			alpha := m.A[y*m.AStride:][:w]
			for x, a := range alpha {
				d := dst[3*x:][:3]
				d[0], d[1], d[2] = over(d[0], a), over(d[1], a), over(d[2], a)
			}
		}
	case *image.Gray:
		return func(dst []uint8, y int) {
			for x, v := range m.Pix[y*m.Stride:][:w] {
				d := dst[3*x:][:3]
				d[0], d[1], d[2] = v, v, v
			}
		}
	case *image.Gray16:
		return func(dst []uint8, y int) {
			src := m.Pix[y*m.Stride:][:2*w]
			for x := range w {
				d, v := dst[3*x:][:3], src[2*x]
				d[0], d[1], d[2] = v, v, v
			}
		}
	case *image.RGBA:
		return func(dst []uint8, y int) {
			src := m.Pix[y*m.Stride:][:4*w]
			for x := range w {
				s, d := src[4*x:][:4], dst[3*x:][:3]
				d[0], d[1], d[2] = overPremultiplied(s[0], s[3]), overPremultiplied(s[1], s[3]), overPremultiplied(s[2], s[3])
			}
		}
	case *image.RGBA64:
		return func(dst []uint8, y int) {
			src := m.Pix[y*m.Stride:][:8*w]
			for x := range w {
				s, d := src[8*x:][:8], dst[3*x:][:3]
				d[0], d[1], d[2] = overPremultiplied(s[0], s[6]), overPremultiplied(s[2], s[6]), overPremultiplied(s[4], s[6])
			}
		}
	case *image.NRGBA:
		return func(dst []uint8, y int) {
			src := m.Pix[y*m.Stride:][:4*w]
			for x := range w {
				s, d := src[4*x:][:4], dst[3*x:][:3]
				d[0], d[1], d[2] = over(s[0], s[3]), over(s[1], s[3]), over(s[2], s[3])
			}
		}
	case *image.NRGBA64:
		return func(dst []uint8, y int) {
			src := m.Pix[y*m.Stride:][:8*w]
			for x := range w {
				s, d := src[8*x:][:8], dst[3*x:][:3]
				d[0], d[1], d[2] = over(s[0], s[6]), over(s[2], s[6]), over(s[4], s[6])
			}
		}
	case *image.Paletted:
		table := paletteTable(m.Palette)
		return func(dst []uint8, y int) {
			for x, v := range m.Pix[y*m.Stride:][:w] {
				copy(dst[3*x:3*x+3], table[v][:])
			}
		}
	case *image.CMYK:
		return func(dst []uint8, y int) {
			src := m.Pix[y*m.Stride:][:4*w]
			for x := range w {
				s, d := src[4*x:][:4], dst[3*x:][:3]
				d[0], d[1], d[2] = color.CMYKToRGB(s[0], s[1], s[2], s[3])
			}
		}
	}
	return func(dst []uint8, y int) { // a type the decoders do not return today
		for x := range w {
			c := rgbOverWhite(m.At(b.Min.X+x, b.Min.Y+y))
			copy(dst[3*x:3*x+3], c[:])
		}
	}
}

// over lays a straight sample with alpha a over white, rounded to nearest.
func over(v, a uint8) uint8 {
	if a == 255 {
		return v
	}
	return uint8((int32(v)*int32(a) + 255*(255-int32(a)) + 127) / 255)
}

// overPremultiplied lays a premultiplied sample with alpha a over white.
func overPremultiplied(v, a uint8) uint8 { return uint8(min(255, int32(v)+255-int32(a))) }

func rgbOverWhite(c color.Color) [3]uint8 {
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	return [3]uint8{over(n.R, n.A), over(n.G, n.A), over(n.B, n.A)}
}

func paletteTable(p color.Palette) *[256][3]uint8 {
	var table [256][3]uint8
	for i, c := range p[:min(len(p), 256)] {
		table[i] = rgbOverWhite(c)
	}
	return &table
}

// onCanvas lays the first frame of a GIF over a white canvas of w by h.
func onCanvas(m *image.Paletted, w, h int) Image {
	dst := NewImage(w, h)
	if m.Rect != image.Rect(0, 0, w, h) {
		for i := range dst.Pix {
			dst.Pix[i] = 255
		}
	}
	row := rowReader(m)
	r := m.Rect.Intersect(image.Rect(0, 0, w, h))
	line := make([]uint8, 3*m.Rect.Dx())
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row(line, y-m.Rect.Min.Y)
		copy(dst.Pix[3*(y*w+r.Min.X):3*(y*w+r.Max.X)], line[3*(r.Min.X-m.Rect.Min.X):])
	}
	return dst
}

// ycbcrRow converts a row of JFIF YCbCr with the integer formula of color.YCbCrToRGB. A chroma sample serves all
// pixels under it.
func ycbcrRow(dst []uint8, m *image.YCbCr, y int) {
	w := m.Rect.Dx()
	luma := m.Y[m.YOffset(m.Rect.Min.X, m.Rect.Min.Y+y):][:w]
	c0 := m.COffset(m.Rect.Min.X, m.Rect.Min.Y+y)
	shift := uint(0)
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420:
		shift = 1
	case image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410:
		shift = 2
	}
	n := (w + 1<<shift - 1) >> shift
	cb, cr := m.Cb[c0:][:n], m.Cr[c0:][:n]
	x := 0
	for i, u := range cb {
		u1, v1 := int32(u)-128, int32(cr[i])-128
		red, green, blue := 91881*v1, -22554*u1-46802*v1, 116130*u1
		for end := min(x+1<<shift, w); x < end; x++ {
			yy := int32(luma[x]) * 0x10101
			d := dst[3*x:][:3]
			d[0], d[1], d[2] = clamp16(yy+red), clamp16(yy+green), clamp16(yy+blue)
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
