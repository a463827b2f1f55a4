package pixels

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"io"

	"edgejepa/vit/pixels/jpeg"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"
)

// Limits bound what one picture may cost. They are checked against the header, before anything is decoded: Go's
// decoders allocate what a header claims, and running out of memory cannot be recovered from. A field that is zero
// takes its default.
type Limits struct {
	MaxPixels int64 // width times height as stored; default 64 million
	MaxBytes  int64 // memory while decoding: the decoder's buffers and the RGB picture; default 256 MiB
	MaxFile   int64 // bytes of the file; default 64 MiB

	// MinSide is how many pixels of the shorter side are needed; 0 means all. A JPEG that has at least 2, 4 or 8 times
	// as many is decoded at that fraction of its size, for a fraction of the time and memory. For a picture that will be
	// scaled it is Oversample times the side that it will have.
	MinSide int
}

// Oversample is by how much a picture that is decoded at reduced size should be larger than what it is scaled to. With 2
// the resizer's kernel decides what a pixel is made of: the result is within a level of that from the whole picture, on
// average, where it would be three levels off with 1.
const Oversample = 2

const (
	defaultMaxPixels = 64_000_000
	defaultMaxBytes  = 256 << 20
	defaultMaxFile   = 64 << 20

	// A progressive JPEG goes over all its pixels once a scan, and a scan may be 34 bytes long. libjpeg writes 10.
	maxScans      = 64
	maxScanPixels = 512_000_000
)

func (l Limits) withDefaults() Limits {
	if l.MaxPixels <= 0 {
		l.MaxPixels = defaultMaxPixels
	}
	if l.MaxBytes <= 0 {
		l.MaxBytes = defaultMaxBytes
	}
	if l.MaxFile <= 0 {
		l.MaxFile = defaultMaxFile
	}
	return l
}

// header is what the guard and the converter need to know before decoding.
type header struct {
	w, h    int
	decoder int64  // bytes the decoder will allocate, estimated from above
	rgb     int64  // bytes of the picture that comes out
	scans   int    // of a JPEG
	tags    []byte // the first EXIF block, or a whole TIFF file; nil if there is none

	jpeg        *jpeg.Header
	denominator int // at which a JPEG is decoded
}

// admit reads the header of a supported format and refuses pictures that go over the limits.
func admit(f Format, data []byte, lim Limits) (header, error) {
	hd, err := readHeader(f, data)
	if err != nil {
		return header{}, err
	}
	if hd.w <= 0 || hd.h <= 0 {
		return header{}, fmt.Errorf("no pixels (%dx%d)", hd.w, hd.h)
	}
	if int64(hd.w) > lim.MaxPixels/int64(hd.h) {
		return header{}, fmt.Errorf("%dx%d pixels are over the limit of %.4g megapixels", hd.w, hd.h, float64(lim.MaxPixels)/1e6)
	}
	hd.rgb = 3 * int64(hd.w) * int64(hd.h)
	if hd.jpeg != nil {
		hd.reduce(lim.MinSide)
	}
	if need := hd.decoder + hd.rgb; need > lim.MaxBytes {
		return header{}, fmt.Errorf("%dx%d pixels need %d MB to decode, over the limit of %d MB", hd.w, hd.h, need/1_000_000, lim.MaxBytes/1_000_000)
	}
	if hd.scans > maxScans || int64(hd.scans)*int64(hd.w)*int64(hd.h) > maxScanPixels {
		return header{}, fmt.Errorf("%d scans of %dx%d pixels are over the limit of %d scans, or %d million pixels in all scans", hd.scans, hd.w, hd.h, maxScans, maxScanPixels/1_000_000)
	}
	return hd, nil
}

// readHeader returns the size and the cost of a picture. The bytes per pixel are those of the decoders in image/...
// and golang.org/x/image, taken for the costliest path where a header leaves a choice.
func readHeader(f Format, data []byte) (header, error) {
	r := bytes.NewReader(data)
	var cfg image.Config
	var err error
	perPixel := int64(4)
	switch f {
	case JPEG:
		h, err := jpeg.ReadHeader(data)
		if err != nil {
			return header{}, err
		}
		return header{w: h.W, h: h.H, scans: h.Scans, tags: h.EXIF, jpeg: h}, nil
	case PNG:
		if cfg, err = png.DecodeConfig(r); err == nil {
			perPixel = pngBytesPerPixel(data)
		}
	case GIF:
		cfg, err = gif.DecodeConfig(r)
		perPixel = 1
	case BMP:
		if err = checkBMPHeader(data); err != nil {
			break
		}
		if cfg, err = bmp.DecodeConfig(r); err == nil {
			err = checkBMPLength(data, cfg.Width, cfg.Height)
		}
	case WebP:
		if err = checkWebPLength(data); err != nil {
			break
		}
		if cfg, err = webp.DecodeConfig(r); err == nil {
			perPixel, err = webpBytesPerPixel(data)
		}
	case TIFF:
		if cfg, err = tiff.DecodeConfig(r); err == nil {
			perPixel = tiffBytesPerPixel(cfg.ColorModel)
		}
	}
	hd := header{w: cfg.Width, h: cfg.Height}
	switch f {
	case PNG:
		hd.tags = pngEXIF(data)
	case WebP:
		hd.tags = webpEXIF(data)
	case TIFF:
		hd.tags = data
	}
	if err == nil && hd.w > 0 && int64(hd.h) <= (1<<62)/16/int64(hd.w) {
		hd.decoder = perPixel * int64(hd.w) * int64(hd.h)
	}
	return hd, err
}

// pngBytesPerPixel reads depth, colour type and interlacing from IHDR, which DecodeConfig has found in its place.
func pngBytesPerPixel(data []byte) int64 {
	depth, colour, interlaced := data[24], data[25], data[28] != 0
	n := int64(4)
	switch {
	case depth == 16:
		n = 8
	case colour == 0 && !bytes.Contains(data, []byte("tRNS")), colour == 3:
		n = 1
	}
	if interlaced {
		n *= 2 // the pass beside the whole
	}
	return n
}

// checkBMPHeader names the two kinds of bitmap that the decoder turns down without a word.
func checkBMPHeader(data []byte) error {
	if len(data) < 34 {
		return nil // the decoder reports the end of the file
	}
	if size := binary.LittleEndian.Uint32(data[14:]); size < 40 {
		return errors.New("unsupported: an OS/2 header (convert it first)")
	}
	if c := binary.LittleEndian.Uint32(data[30:]); c == 1 || c == 2 || c == 4 || c == 5 {
		return errors.New("unsupported: compressed pixels (convert it first)")
	}
	return nil
}

// checkBMPLength refuses a bitmap that is shorter than its pixels, which take as many bits each as the header says.
func checkBMPLength(data []byte, w, h int) error {
	offset, bits := int64(binary.LittleEndian.Uint32(data[10:])), int64(binary.LittleEndian.Uint16(data[28:]))
	row := (int64(w)*bits + 31) / 32 * 4
	if h > 0 && (int64(len(data))-offset)/int64(h) < row {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// checkWebPLength refuses a file that ends amid its pixels or before: the decoder sets memory aside for all that a length
// claims.
func checkWebPLength(data []byte) error {
	for at := 12; at+8 <= len(data); {
		kind, size := string(data[at:at+4]), uint64(binary.LittleEndian.Uint32(data[at+4:]))
		at += 8
		if size > uint64(len(data)-at) {
			return io.ErrUnexpectedEOF
		}
		if kind == "VP8 " || kind == "VP8L" {
			break
		}
		at += int(size + size&1)
	}
	return nil
}

func webpBytesPerPixel(data []byte) (int64, error) {
	const animated, alpha = 1 << 1, 1 << 4
	switch chunk := string(data[12:16]); {
	case chunk == "VP8X" && data[20]&animated != 0:
		return 0, errors.New("unsupported: an animation (convert it first)")
	case chunk == "VP8X" && data[20]&alpha != 0:
		return 10, nil // luma, chroma and alpha, which may be lossless
	case chunk == "VP8 ":
		return 2, nil
	}
	return 8, nil // lossless, with its transforms
}

func tiffBytesPerPixel(m color.Model) int64 {
	switch m {
	case color.GrayModel:
		return 2 // the picture, and a strip or tile as large
	case color.Gray16Model:
		return 4
	case color.RGBAModel, color.NRGBAModel:
		return 8
	case color.RGBA64Model, color.NRGBA64Model:
		return 16
	}
	return 2 // palette
}
