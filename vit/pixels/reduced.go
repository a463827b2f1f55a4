package pixels

import (
	"sync"

	"edgejepa/vit/pixels/jpeg"
)

// reduce chooses the smallest size of a JPEG whose shorter side still has minSide pixels, and says what that costs.
func (hd *header) reduce(minSide int) {
	hd.denominator = 1
	for _, n := range jpeg.Denominators {
		if minSide > 0 && min(hd.w, hd.h)/n >= minSide {
			hd.denominator = n
		}
	}
	w, h := hd.jpeg.Size(hd.denominator)
	hd.rgb = 3 * int64(w) * int64(h)
	hd.decoder = hd.jpeg.Bytes(hd.denominator)
}

var jpegDecoders = sync.Pool{New: func() any { return new(jpeg.Decoder) }}

// keptBuffers is how large a decoder's buffers may be for the next picture to use them again.
const keptBuffers = 4 << 20

// decodeJPEG decodes a JPEG at the size that was chosen for it. Each row goes where the orientation wants it.
func decodeJPEG(hd header) (Image, error) {
	orientation := 1
	if hd.tags != nil {
		orientation = readMetadata(hd.tags).orientation
	}
	w, h := hd.jpeg.Size(hd.denominator)
	dst := NewImage(w, h)
	if orientation >= 5 {
		dst.W, dst.H = h, w
	}
	dst.setTrim(8*w-8*hd.w/hd.denominator, 8*h-8*hd.h/hd.denominator, orientation)

	d := jpegDecoders.Get().(*jpeg.Decoder)
	err := d.Decode(hd.jpeg, hd.denominator, func(y int, rgb []uint8) { placeLine(dst.Pix, rgb, y, w, h, orientation) })
	if err != nil {
		return Image{}, err // without the decoder: its state after a panic or an error is nobody's concern
	}
	if hd.decoder > keptBuffers {
		d.Release()
	}
	jpegDecoders.Put(d)
	return dst, nil
}

// setTrim notes that of a stored picture the last column and the last row reach beyond the scene by right and bottom
// eighths of a pixel.
func (m *Image) setTrim(right, bottom, orientation int) {
	if orientation >= 5 {
		right, bottom = bottom, right
	}
	m.trim = trim{right: uint8(right), bottom: uint8(bottom)}
	switch orientation {
	case 2, 3, 6, 7:
		m.trim.left, m.trim.right = m.trim.right, 0
	}
	switch orientation {
	case 3, 4, 7, 8:
		m.trim.top, m.trim.bottom = m.trim.bottom, 0
	}
}
