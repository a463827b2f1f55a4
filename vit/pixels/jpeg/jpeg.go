// Package jpeg decodes JPEG pictures at full size, or at a half, a quarter or an eighth of it.
//
// A reduced picture is made in the frequency domain: of the 8 by 8 coefficients of a block only the lowest 4 by 4, 2 by 2
// or 1 by 1 are transformed, which gives as many pixels. The others are passed over as bits, and chroma that is stored at
// half the size comes out at the size that luma is reduced to, so that most of the work of decoding is left out.
//
// Baseline, extended sequential and progressive Huffman coding with 8 bits a sample are read (ITU-T T.81), in grey, YCbCr
// and RGB with any sampling factors, and in CMYK and YCCK as Adobe writes them. All arithmetic is on integers: a file gives
// the same pixels on every machine. At full size grey, RGB and 4:4:4 pictures have the very pixels of libjpeg.
package jpeg

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// Denominators are the reductions that Decode offers, by which width and height are divided.
var Denominators = [...]int{1, 2, 4, 8}

// Size returns the size of the picture divided by a denominator, rounded up.
func (h *Header) Size(denominator int) (width, height int) {
	return ceilDiv(h.W, denominator), ceilDiv(h.H, denominator)
}

// Bytes returns how much memory Decode takes at a denominator, estimated from above.
func (h *Header) Bytes(denominator int) int64 {
	const fixed = 1 << 17 // a Decoder itself
	total := int64(fixed)
	planes := h.plan(8 / denominator)
	for i := range h.components {
		p := &planes[i]
		total += int64(p.stripLen()) + 4*int64(p.stride)
		if h.stored() {
			total += int64(p.blocksX) * int64(p.blocksY) * int64(2*p.kept()+8)
		}
	}
	return total
}

// Decoder decodes one picture after another, keeping its buffers. The zero value is ready. It is not for concurrent use.
type Decoder struct {
	h    *Header
	k    int // pixels that the largest component makes of a block's side: 8, 4, 2 or 1
	bits bitReader

	quant    [4][64]int32 // in the order of the file
	hasQuant [4]bool
	dc, ac   [4]huffman
	interval int // MCUs between restarts; 0 for none

	planes [4]plane
	wanted [maxScans]bool // by scan: whether it is to be decoded
	scan   int            // number of the scan at hand
	eobRun int32          // blocks that are at their end without saying so themselves

	coef [64]int32  // of one block
	rows [4][]uint8 // one row of each component at the width of the picture
	rgb  []uint8
	emit func(y int, rgb []uint8)
}

// plane is a component on its way from bits to rows of pixels.
type plane struct {
	hs, vs           int // blocks in an MCU, across and down
	kx, ky           int // pixels made of a block
	blocksX, blocksY int // in whole MCUs
	scanX, scanY     int // in a scan of this component alone

	mask  uint64     // zigzag indices of the kx by ky coefficients that are kept
	limit int        // one more than the last of them
	place [128]uint8 // by zigzag index: where a coefficient is kept, 255 for nowhere

	seen             bool      // a scan of it was met
	quant            [64]int32 // as the tables were at its first scan; natural order
	dcTable, acTable *huffman  // of the scan at hand
	dc               int32     // prediction

	strip   []uint8  // a row of MCUs: vs*ky rows
	stride  int      // of strip
	coef    []int16  // [blocksY][blocksX][ky][kx], if all scans have to be awaited
	nonzero []uint64 // [blocksY][blocksX]: zigzag indices of the coefficients known not to be zero; progressive only

	stepX, spanX int // stepX columns of the strip belong to spanX columns of the picture
	stepY, spanY int
	expanded     int // the row of the strip that Decoder.rows holds, -1 for none
}

func (p *plane) kept() int     { return p.kx * p.ky }
func (p *plane) stripLen() int { return p.stride * p.vs * p.ky }

var (
	errShort = errors.New("the coded pixels end too early")
	errCode  = errors.New("a Huffman code that is not in its table")
)

// Decode decodes the picture with width and height divided by denominator, one of Denominators, and hands out its rows
// from the top: 3*width bytes of red, green and blue, valid during the call. After an error the rows that were handed
// out mean nothing. A file that ends early is an error.
func (d *Decoder) Decode(h *Header, denominator int, row func(y int, rgb []uint8)) error {
	if denominator != 1 && denominator != 2 && denominator != 4 && denominator != 8 {
		panic("jpeg: Decode: the denominator must be 1, 2, 4 or 8")
	}
	if len(h.scans) < h.Scans {
		return fmt.Errorf("%d scans are more than %d", h.Scans, maxScans)
	}
	if h.Scans == 0 {
		return io.ErrUnexpectedEOF
	}
	if len(h.components) == 4 && !h.adobe {
		return errors.New("unsupported: four components without Adobe's marker (convert it first)")
	}
	d.h, d.k, d.emit, d.bits.data = h, 8/denominator, row, h.data
	d.reset()
	d.layout()
	d.chooseScans()
	err := d.segments()
	d.emit, d.h, d.bits.data = nil, nil, nil
	return err
}

// reset forgets what an earlier file defined.
func (d *Decoder) reset() {
	d.hasQuant = [4]bool{}
	for i := range d.dc {
		d.dc[i].defined, d.ac[i].defined = false, false
	}
	d.interval, d.scan, d.eobRun = 0, 0, 0
}

// plan lays out the planes for k pixels a side of the largest component's blocks. A component with fewer samples makes
// more pixels of each of its blocks, as long as they are at most 8 and do not outnumber the largest component's.
func (h *Header) plan(k int) (planes [4]plane) {
	for i, c := range h.components {
		p := &planes[i]
		p.hs, p.vs = c.h, c.v
		p.kx, p.ky = fit(k, h.hMax, c.h), fit(k, h.vMax, c.v)
		p.blocksX, p.blocksY = h.mcusX*c.h, h.mcusY*c.v
		p.scanX = ceilDiv(ceilDiv(h.W*c.h, h.hMax), 8)
		p.scanY = ceilDiv(ceilDiv(h.H*c.v, h.vMax), 8)
		p.stride = p.blocksX * p.kx
		p.stepX, p.spanX = c.h*p.kx, h.hMax*k
		p.stepY, p.spanY = c.v*p.ky, h.vMax*k
		p.setKept()
	}
	return planes
}

// fit returns how many pixels a block of a component makes along a side on which it has factor of most blocks.
func fit(k, most, factor int) int {
	n := k
	for n < 8 && 2*n*factor <= k*most {
		n *= 2
	}
	return n
}

// setKept fills in which coefficients are kept, and where.
func (p *plane) setKept() {
	p.mask = keep(p.kx, p.ky)
	p.limit = bits.Len64(p.mask)
	for k := range p.place {
		p.place[k] = 255
		if k < 64 && p.mask>>k&1 != 0 {
			p.place[k] = zigzag[k]>>3*uint8(p.kx) + zigzag[k]&7
		}
	}
}

// layout plans the planes and gives them memory, that of the last picture where it is enough.
func (d *Decoder) layout() {
	w, _ := d.h.Size(8 / d.k)
	d.rgb = grow(d.rgb, 3*w)
	for i, p := range d.h.plan(d.k) {
		old := &d.planes[i]
		if i < len(d.h.components) {
			p.strip = grow(old.strip, p.stripLen())
			if p.stepX != p.spanX {
				d.rows[i] = grow(d.rows[i], w)
			}
			if d.h.stored() {
				p.coef = grow(old.coef, p.blocksX*p.blocksY*p.kept())
				clear(p.coef)
			}
			if d.h.Progressive {
				p.nonzero = grow(old.nonzero, p.blocksX*p.blocksY)
				clear(p.nonzero)
			}
		}
		*old = p
	}
}

// Release drops the buffers that grow with the picture.
func (d *Decoder) Release() {
	for i := range d.planes {
		p := &d.planes[i]
		p.strip, p.coef, p.nonzero, d.rows[i] = nil, nil, nil, nil
	}
	d.rgb = nil
}

// segments reads the file up to the end marker (T.81, B.2).
func (d *Decoder) segments() error {
	data := d.h.data
	for at := 2; ; {
		marker, next, err := nextMarker(data, at)
		if err != nil {
			return err
		}
		at = next
		switch {
		case marker == markerEOI:
			return d.finish()
		case marker >= markerRST0 && marker <= markerRST7:
			continue // after the last MCU: some encoders write one too many
		}
		segment, err := segmentAt(data, at)
		if err != nil {
			return err
		}
		at += 2 + len(segment)
		switch {
		case marker == markerSOF0, marker == markerSOF1, marker == markerSOF2:
			// read by ReadHeader
		case marker == markerDQT:
			err = d.readQuant(segment)
		case marker == markerDHT:
			err = d.readHuffman(segment)
		case marker == markerDRI:
			if len(segment) != 2 {
				return errors.New("a restart interval of the wrong length")
			}
			d.interval = int(segment[0])<<8 | int(segment[1])
		case marker == markerSOS:
			at, err = d.readScan(segment, at)
		case marker >= markerAPP0 && marker <= markerAPP15, marker == markerCOM:
		default:
			err = fmt.Errorf("unknown marker 0x%02x", marker)
		}
		if err != nil {
			return err
		}
	}
}

// nextMarker skips to the next marker at or after at and returns its code and where what follows it begins. Bytes that
// belong to no segment are passed over, as libjpeg does.
func nextMarker(data []byte, at int) (marker byte, next int, err error) {
	for ; at < len(data); at++ {
		if data[at] != 0xff {
			continue
		}
		for at < len(data) && data[at] == 0xff { // fill bytes may come before a marker
			at++
		}
		if at < len(data) && data[at] != 0 {
			return data[at], at + 1, nil
		}
	}
	return 0, 0, io.ErrUnexpectedEOF
}

// segmentAt returns the parameters of the segment whose length field is at at.
func segmentAt(data []byte, at int) ([]byte, error) {
	if at+2 > len(data) {
		return nil, io.ErrUnexpectedEOF
	}
	length := int(data[at])<<8 | int(data[at+1])
	if length < 2 {
		return nil, errors.New("a segment is shorter than its header")
	}
	if at+length > len(data) {
		return nil, io.ErrUnexpectedEOF
	}
	return data[at+2 : at+length], nil
}

// readQuant reads quantisation tables (T.81, B.2.4.1).
func (d *Decoder) readQuant(s []byte) error {
	for len(s) > 0 {
		wide, id := int(s[0]>>4), s[0]&15
		s = s[1:]
		if id > 3 || wide > 1 {
			return errors.New("a quantisation table of unknown kind")
		}
		if len(s) < 64<<wide {
			return errors.New("a quantisation table of the wrong length")
		}
		for k := range d.quant[id] {
			if wide == 1 {
				d.quant[id][k] = int32(s[2*k])<<8 | int32(s[2*k+1])
			} else {
				d.quant[id][k] = int32(s[k])
			}
		}
		d.hasQuant[id] = true
		s = s[64<<wide:]
	}
	return nil
}

// finish makes pixels of stored coefficients, when all scans have been read.
func (d *Decoder) finish() error {
	for i := range d.h.components {
		if !d.planes[i].seen {
			return errors.New("a component has no scan")
		}
	}
	if d.h.stored() {
		d.reconstruct()
	}
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
