package labels

import (
	"fmt"
	"image"
	"image/color"

	"edgejepa/vit/pixels"
)

// Ignore marks a pixel that is of no class: unlabelled, a border, or broken.
const Ignore = 255

// mask is a PNG as it is stored: a number or a colour for each pixel.
type mask struct {
	w, h   int
	index  []uint8  // [H, W] samples or palette indices, if they are not
	colour []uint32 // [H, W] as 0xRRGGBB, if masks are read by colour
}

// readMask decodes a mask. The samples of a grey PNG are taken as they are stored, so one of 2 bits holds 0 to 3.
func readMask(data []byte, lim pixels.Limits, colours bool) (m mask, err error) {
	img, err := pixels.DecodePNG(data, lim)
	if err != nil {
		return m, err
	}
	b := img.Bounds()
	m.w, m.h = b.Dx(), b.Dy()
	n := m.w * m.h
	row := func(y int, pix []uint8, stride int) []uint8 { return pix[y*stride:][:m.w] }
	switch img := img.(type) {
	case *image.Paletted:
		if colours {
			break
		}
		m.index = make([]uint8, 0, n)
		for y := range m.h {
			m.index = append(m.index, row(y, img.Pix, img.Stride)...)
		}
		return m, nil
	case *image.Gray:
		if colours {
			break
		}
		step := uint8(1) // the decoder spreads 1, 2 and 4 bits over 0 to 255
		switch data[24] {
		case 1:
			step = 255
		case 2:
			step = 85
		case 4:
			step = 17
		}
		m.index = make([]uint8, 0, n)
		for y := range m.h {
			for _, v := range row(y, img.Pix, img.Stride) {
				m.index = append(m.index, v/step)
			}
		}
		return m, nil
	case *image.Gray16:
		if colours {
			break
		}
		m.index = make([]uint8, 0, n)
		for y := range m.h {
			for x := range m.w {
				v := img.Gray16At(b.Min.X+x, b.Min.Y+y).Y
				if v > 255 {
					return mask{}, fmt.Errorf("16-bit value %d at (%d, %d); classes are 0 to 254", v, x, y)
				}
				m.index = append(m.index, uint8(v))
			}
		}
		return m, nil
	}
	m.colour = make([]uint32, 0, n)
	at := colourReader(img)
	grey := true
	for y := range m.h {
		for x := range m.w {
			c := at(x, y)
			grey = grey && c>>16 == c&0xff && c>>8&0xff == c&0xff
			m.colour = append(m.colour, c)
		}
	}
	if colours {
		return m, nil
	}
	if !grey {
		return mask{}, fmt.Errorf("has colours, and there is no classes.yaml that says which class a colour is")
	}
	m.index = make([]uint8, n) // grey written with three channels
	for i, c := range m.colour {
		m.index[i] = uint8(c)
	}
	m.colour = nil
	return m, nil
}

// colourReader returns a function that gives the colour of a pixel as 0xRRGGBB, transparency left aside.
func colourReader(img image.Image) func(x, y int) uint32 {
	pack := func(r, g, b uint8) uint32 { return uint32(r)<<16 | uint32(g)<<8 | uint32(b) }
	of := func(c color.Color) uint32 {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		return pack(n.R, n.G, n.B)
	}
	switch img := img.(type) {
	case *image.RGBA: // the decoder's type for opaque pictures
		return func(x, y int) uint32 { p := img.Pix[y*img.Stride+4*x:][:3]; return pack(p[0], p[1], p[2]) }
	case *image.NRGBA:
		return func(x, y int) uint32 { p := img.Pix[y*img.Stride+4*x:][:3]; return pack(p[0], p[1], p[2]) }
	case *image.Paletted:
		var table [256]uint32
		for i, c := range img.Palette {
			table[i] = of(c)
		}
		return func(x, y int) uint32 { return table[img.Pix[y*img.Stride+x]] }
	}
	b := img.Bounds()
	return func(x, y int) uint32 { return of(img.At(b.Min.X+x, b.Min.Y+y)) }
}

// maskCode says which class a sample or colour is.
type maskCode struct {
	index  [256]uint8       // by sample; Ignore for none
	colour map[uint32]uint8 // by colour; nil if masks are read by sample
}

// stray is what a mask holds that is no class.
type stray struct {
	pixels int
	x, y   int // of the first
	what   string
}

// classes turns a mask into a class a pixel [H, W], in place where it can. What is no class becomes Ignore and is counted,
// samples of Ignore and the colour to be ignored apart.
func (c *maskCode) classes(m mask) (out []uint8, s stray) {
	note := func(i int, what func() string) {
		if s.pixels == 0 {
			s.x, s.y, s.what = i%m.w, i/m.w, what()
		}
		s.pixels++
	}
	if c.colour == nil {
		for i, v := range m.index {
			if m.index[i] = c.index[v]; m.index[i] == Ignore && v != Ignore {
				note(i, func() string { return fmt.Sprintf("value %d", v) })
			}
		}
		return m.index, s
	}
	out = make([]uint8, len(m.colour))
	for i, v := range m.colour {
		class, known := c.colour[v]
		if !known {
			class = Ignore
			note(i, func() string { return fmt.Sprintf("colour #%06x", v) })
		}
		out[i] = class
	}
	return out, s
}
