package jpeg

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Markers (T.81, table B.1).
const (
	markerTEM   = 0x01
	markerSOF0  = 0xc0
	markerSOF1  = 0xc1
	markerSOF2  = 0xc2
	markerDHT   = 0xc4
	markerJPG   = 0xc8
	markerDAC   = 0xcc
	markerSOF15 = 0xcf
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerDQT   = 0xdb
	markerDRI   = 0xdd
	markerAPP0  = 0xe0
	markerAPP1  = 0xe1
	markerAPP14 = 0xee
	markerAPP15 = 0xef
	markerCOM   = 0xfe
)

// maxScans bounds the scans whose headers are kept; libjpeg writes 10.
const maxScans = 1024

// Header is what a file says about its picture, and what decoding it costs.
type Header struct {
	W, H        int
	Progressive bool
	Scans       int    // passes over the picture
	EXIF        []byte // the first EXIF block, or nil

	data         []byte
	components   []component
	hMax, vMax   int
	mcusX, mcusY int
	scans        []scanHeader // the first maxScans
	jfif         bool
	adobe        bool
	transform    byte // of Adobe's marker
}

// component is a colour component of the frame (T.81, B.2.2).
type component struct {
	id, quant byte
	h, v      int // sampling factors
}

// scanHeader says what a scan holds (T.81, B.2.3).
type scanHeader struct {
	components [4]int8 // indices into Header.components
	tables     [4]byte // DC table * 16 + AC table
	n          int     // components
	start, end int     // zigzag indices of the coefficients: 0 and 63 unless progressive
	high, low  uint    // bits of precision before and after, counted from the lowest
}

// exifMagic opens an APP1 segment with EXIF.
var exifMagic = []byte("Exif\x00\x00")

// ReadHeader goes over all markers up to the end of the first picture, without decoding anything: the size is in the frame
// header, but the time that a progressive file takes is in the number of its scans. The header refers to data.
func ReadHeader(data []byte) (*Header, error) {
	h := &Header{data: data}
	if len(data) < 2 || data[0] != 0xff || data[1] != markerSOI {
		return nil, errors.New("no start marker")
	}
	for at := 2; ; {
		skip := bytes.IndexByte(data[at:], 0xff)
		if skip < 0 {
			break
		}
		for at += skip; at < len(data) && data[at] == 0xff; at++ { // fill bytes may come before a marker
		}
		if at == len(data) {
			break
		}
		marker := data[at]
		at++
		if marker == 0 || marker == markerTEM || marker == markerSOI || marker >= markerRST0 && marker <= markerRST7 {
			continue
		}
		if marker == markerEOI || at+2 > len(data) {
			break
		}
		length := int(data[at])<<8 | int(data[at+1])
		if length < 2 {
			return nil, errors.New("a segment is shorter than its header")
		}
		segment := data[at+2 : min(len(data), at+length)]
		at = min(len(data), at+length)
		if err := h.segment(marker, segment); err != nil {
			return nil, err
		}
	}
	if h.components == nil {
		return nil, io.ErrUnexpectedEOF
	}
	return h, nil
}

func (h *Header) segment(marker byte, s []byte) error {
	switch {
	case marker == markerSOS:
		h.Scans++
		if len(h.scans) == maxScans {
			return nil
		}
		scan, err := h.readScan(s)
		h.scans = append(h.scans, scan)
		return err
	case marker == markerAPP0 && bytes.HasPrefix(s, []byte("JFIF\x00")):
		h.jfif = true
	case marker == markerAPP1 && h.EXIF == nil && bytes.HasPrefix(s, exifMagic):
		h.EXIF = s[len(exifMagic):]
	case marker == markerAPP14 && len(s) >= 12 && bytes.HasPrefix(s, []byte("Adobe")):
		h.adobe, h.transform = true, s[11]
	case marker >= markerSOF0 && marker <= markerSOF15 && marker != markerDHT && marker != markerJPG && marker != markerDAC:
		if h.components != nil {
			return errors.New("two frame headers")
		}
		h.Progressive = marker == markerSOF2
		return h.readFrame(marker, s)
	}
	return nil
}

// readFrame reads a frame header (T.81, B.2.2).
func (h *Header) readFrame(marker byte, s []byte) error {
	var kind string
	switch marker - markerSOF0 {
	case 0, 1, 2:
	case 3:
		kind = "lossless coding"
	case 5, 6, 7:
		kind = "hierarchical coding"
	case 11, 15:
		kind = "lossless arithmetic coding"
	default:
		kind = "arithmetic coding"
	}
	if kind != "" {
		return fmt.Errorf("unsupported: %s (convert it first)", kind)
	}
	if len(s) < 6 || len(s) < 6+3*int(s[5]) {
		return io.ErrUnexpectedEOF
	}
	if s[0] != 8 {
		return fmt.Errorf("unsupported: %d bits a sample (convert it first)", s[0])
	}
	h.H, h.W = int(s[1])<<8|int(s[2]), int(s[3])<<8|int(s[4])
	if h.H == 0 {
		return errors.New("unsupported: the height is given after the pixels (convert it first)")
	}
	if h.W == 0 {
		return errors.New("the width is zero")
	}
	n := int(s[5])
	if n != 1 && n != 3 && n != 4 {
		return fmt.Errorf("unsupported: %d components (convert it first)", n)
	}
	h.components = make([]component, n)
	for i := range h.components {
		c := component{id: s[6+3*i], quant: s[8+3*i], h: int(s[7+3*i] >> 4), v: int(s[7+3*i] & 15)}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return fmt.Errorf("a sampling factor of %dx%d", c.h, c.v)
		}
		if c.quant > 3 {
			return fmt.Errorf("quantisation table %d of 4", c.quant)
		}
		if n == 1 {
			c.h, c.v = 1, 1 // the blocks of a single component come row by row whatever the factors say (T.81, A.2.2)
		}
		for _, other := range h.components[:i] {
			if other.id == c.id {
				return errors.New("two components of one name")
			}
		}
		h.components[i] = c
		h.hMax, h.vMax = max(h.hMax, c.h), max(h.vMax, c.v)
	}
	h.mcusX, h.mcusY = ceilDiv(h.W, 8*h.hMax), ceilDiv(h.H, 8*h.vMax)
	return nil
}

// readScan reads a scan header (T.81, B.2.3).
func (h *Header) readScan(s []byte) (scanHeader, error) {
	var out scanHeader
	if h.components == nil {
		return out, errors.New("a scan before the frame header")
	}
	if len(s) == 0 || len(s) < 4+2*int(s[0]) {
		return out, io.ErrUnexpectedEOF
	}
	out.n = int(s[0])
	if out.n < 1 || out.n > len(h.components) {
		return out, fmt.Errorf("a scan of %d components", out.n)
	}
	blocks := 0
	for i := range out.n {
		id := s[1+2*i]
		at := -1
		for c := range h.components {
			if h.components[c].id == id {
				at = c
			}
		}
		if at < 0 {
			return out, errors.New("a scan of an unknown component")
		}
		for _, other := range out.components[:i] {
			if int(other) == at {
				return out, errors.New("a scan of one component twice")
			}
		}
		out.components[i], out.tables[i] = int8(at), s[2+2*i]
		if out.tables[i]>>4 > 3 || out.tables[i]&15 > 3 {
			return out, errors.New("a Huffman table beyond the fourth")
		}
		blocks += h.components[at].h * h.components[at].v
	}
	if out.n > 1 && blocks > 10 {
		return out, fmt.Errorf("%d blocks in an MCU, of 10 at most", blocks)
	}
	out.end = 63
	if !h.Progressive {
		return out, nil
	}
	s = s[1+2*out.n:]
	out.start, out.end, out.high, out.low = int(s[0]), int(s[1]), uint(s[2]>>4), uint(s[2]&15)
	switch {
	case out.start > out.end, out.end > 63, out.start == 0 && out.end != 0:
		return out, fmt.Errorf("a scan of the coefficients %d to %d", out.start, out.end)
	case out.start != 0 && out.n != 1:
		return out, errors.New("a scan of AC coefficients of several components")
	case out.high != 0 && out.high != out.low+1, out.low > 13:
		return out, fmt.Errorf("a scan from bit %d to bit %d", out.high, out.low)
	}
	return out, nil
}

// stored says whether coefficients have to be kept until the last scan; otherwise one scan has everything.
func (h *Header) stored() bool {
	return h.Progressive || h.Scans != 1 || h.scans[0].n != len(h.components)
}
