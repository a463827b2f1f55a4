package pixels

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// JPEG markers (ITU-T T.81, table B.1).
const (
	markerSOF0  = 0xc0
	markerSOF15 = 0xcf
	markerDHT   = 0xc4
	markerJPG   = 0xc8
	markerDAC   = 0xcc
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerAPP1  = 0xe1
	markerTEM   = 0x01
)

// readJPEGHeader goes over all markers up to the end of the first picture, without decoding anything: the size is in
// the frame header, but the time a progressive file takes is in the number of its scans.
func readJPEGHeader(data []byte) (header, error) {
	var hd header
	var progressive bool
	frames := 0
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
		if marker == markerEOI {
			break
		}
		if at+2 > len(data) {
			break
		}
		length := int(data[at])<<8 | int(data[at+1])
		if length < 2 {
			return hd, errors.New("a segment is shorter than its header")
		}
		segment := data[at+2 : min(len(data), at+length)]
		at = min(len(data), at+length)
		switch {
		case marker == markerSOS:
			hd.scans++
		case marker == markerAPP1 && hd.tags == nil && bytes.HasPrefix(segment, exifMagic):
			hd.tags = segment[len(exifMagic):]
		case marker >= markerSOF0 && marker <= markerSOF15 && marker != markerDHT && marker != markerJPG && marker != markerDAC:
			if frames++; frames > 1 {
				return hd, errors.New("two frame headers")
			}
			if err := readFrame(&hd, marker, segment); err != nil {
				return hd, err
			}
			progressive = marker == markerSOF0+2
		}
	}
	if frames == 0 {
		return hd, io.ErrUnexpectedEOF
	}
	if progressive {
		hd.decoder *= 5 // a 4-byte coefficient is kept for each sample
	}
	return hd, nil
}

// readFrame reads a frame header (T.81, B.2.2): size, and samples padded to whole MCUs.
func readFrame(hd *header, marker byte, s []byte) error {
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
	hd.h, hd.w = int(s[1])<<8|int(s[2]), int(s[3])<<8|int(s[4])
	if hd.h == 0 {
		return errors.New("unsupported: the height is given after the pixels (convert it first)")
	}
	components := int(s[5])
	if components != 1 && components != 3 && components != 4 {
		return fmt.Errorf("unsupported: %d components (convert it first)", components)
	}
	var hMax, vMax, area int64
	for c := range components {
		h, v := int64(s[7+3*c]>>4), int64(s[7+3*c]&15)
		hMax, vMax, area = max(hMax, h), max(vMax, v), area+h*v
	}
	if hMax == 0 || vMax == 0 {
		return errors.New("a sampling factor is zero")
	}
	if components == 1 {
		hMax, vMax, area = 1, 1, 1
	}
	mcus := ((int64(hd.w) + 8*hMax - 1) / (8 * hMax)) * ((int64(hd.h) + 8*vMax - 1) / (8 * vMax))
	hd.decoder = mcus * 64 * area
	if components == 4 {
		hd.decoder += 4 * int64(hd.w) * int64(hd.h) // the interleaved CMYK copy
	}
	return nil
}
