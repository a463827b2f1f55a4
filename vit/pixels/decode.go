package pixels

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/png"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"
)

// Load reads and decodes one picture. Errors are *FileError: one line with the path and the reason.
func Load(path string, lim Limits) (Image, error) {
	data, err := readFile(path, lim.withDefaults().MaxFile)
	if err != nil {
		return Image{}, fileError(path, err)
	}
	if f := formatOf(path, data); f == RAW {
		return Image{}, fileError(path, unsupportedError(f, data))
	}
	img, err := Decode(data, lim)
	if err != nil {
		return Image{}, fileError(path, err)
	}
	return img, nil
}

// Decode turns a file's bytes into an upright RGB picture: grey becomes RGB, transparency is laid over white, 16-bit
// samples keep their upper byte, CMYK is converted, EXIF orientation is applied; colour profiles are ignored. Of a GIF
// the first frame counts, on its canvas; of a multi-page TIFF the first page. A large JPEG is decoded at a half, a quarter
// or an eighth of its size if lim.MinSide allows it.
//
// Errors are one line with the format and the reason. Damaged data never panics.
func Decode(data []byte, lim Limits) (img Image, err error) {
	head := data[:min(len(data), SniffLen)]
	f := Sniff(head)
	if !f.Supported() {
		return Image{}, unsupportedError(f, head)
	}
	defer func() {
		if v := recover(); v != nil {
			img, err = Image{}, decodeError(f, fmt.Errorf("the decoder failed: %v", v))
		}
	}()
	hd, err := admit(f, data, lim.withDefaults())
	if err != nil {
		return Image{}, decodeError(f, err)
	}
	if f == JPEG {
		if img, err = decodeJPEG(hd); err != nil {
			return Image{}, decodeError(f, err)
		}
		return img, nil
	}
	m, err := decodeFormat(f, data)
	if err != nil {
		return Image{}, decodeError(f, err)
	}
	if f == GIF {
		return onCanvas(m.(*image.Paletted), hd.w, hd.h), nil
	}
	if b := m.Bounds(); b.Dx() != hd.w || b.Dy() != hd.h {
		return Image{}, decodeError(f, errors.New("the size of the pixels is not the header's"))
	}
	var meta metadata
	if hd.tags != nil {
		meta = readMetadata(hd.tags)
	}
	img = convert(m, meta.orientation)
	if meta.negative {
		for i, v := range img.Pix {
			img.Pix[i] = 255 - v
		}
	}
	return img, nil
}

func decodeFormat(f Format, data []byte) (image.Image, error) {
	r := bytes.NewReader(data)
	switch f {
	case PNG:
		return png.Decode(r)
	case GIF:
		return gif.Decode(r)
	case BMP:
		return bmp.Decode(r)
	case WebP:
		return webp.Decode(r)
	default:
		return tiff.Decode(r)
	}
}
