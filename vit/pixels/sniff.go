package pixels

import (
	"bytes"
	"path/filepath"
	"strings"
)

// Format is what the first bytes of a file say it is.
type Format uint8

const (
	Unknown Format = iota

	// Decoded.
	JPEG
	PNG
	GIF
	BMP
	WebP
	TIFF

	// Pictures that are recognised so that the error can name them.
	HEIC
	AVIF
	JPEGXL
	JPEG2000
	BigTIFF
	RAW
	SVG
	PSD
	ICO

	// Other things that turn up under a picture's name.
	PDF
	HTML
	Video
	Archive
	Executable
)

var formatNames = [...]string{"unknown", "JPEG", "PNG", "GIF", "BMP", "WebP", "TIFF",
	"HEIC", "AVIF", "JPEG XL", "JPEG 2000", "BigTIFF", "camera RAW", "SVG", "PSD", "ICO",
	"PDF", "HTML", "video", "archive", "executable"}

func (f Format) String() string { return formatNames[f] }

// Supported says whether Decode reads the format.
func (f Format) Supported() bool { return f >= JPEG && f <= TIFF }

// Picture says whether the format is a kind of picture, supported or not.
func (f Format) Picture() bool { return f >= JPEG && f <= ICO }

// SniffLen is how many bytes of a file Sniff wants to see. Fewer are fine.
const SniffLen = 512

// Sniff names the format of a file from its first bytes. Names and extensions play no part.
func Sniff(head []byte) Format {
	has := func(offset int, magic string) bool {
		return len(head) >= offset+len(magic) && string(head[offset:offset+len(magic)]) == magic
	}
	switch {
	case has(0, "\xff\xd8\xff"):
		return JPEG
	case has(0, "\x89PNG\r\n\x1a\n"):
		return PNG
	case has(0, "GIF87a"), has(0, "GIF89a"):
		return GIF
	case has(0, "BM") && bmpHeader(head):
		return BMP
	case has(0, "RIFF") && has(8, "WEBP"):
		return WebP
	case has(0, "II*\x00") && has(8, "CR"), has(0, "IIU\x00"), has(0, "IIRO"), has(0, "IIRS"), has(0, "MMOR"),
		has(0, "FUJIFILMCCD-RAW"), has(0, "FOVb"), has(4, "ftypcrx "):
		return RAW
	case has(0, "II*\x00"), has(0, "MM\x00*"):
		return TIFF
	case has(0, "II+\x00"), has(0, "MM\x00+"):
		return BigTIFF
	case has(4, "ftyp"):
		return isoBrand(head)
	case has(0, "\xff\x0a"), has(4, "JXL \r\n\x87\n"):
		return JPEGXL
	case has(4, "jP  \r\n\x87\n"), has(0, "\xff\x4f\xff\x51"):
		return JPEG2000
	case has(0, "8BPS"):
		return PSD
	case has(0, "\x00\x00\x01\x00") && has(5, "\x00"):
		return ICO
	case has(0, "%PDF-"):
		return PDF
	case has(0, "\x1a\x45\xdf\xa3"), has(0, "RIFF") && has(8, "AVI "):
		return Video
	case has(0, "PK\x03\x04"), has(0, "\x1f\x8b"), has(257, "ustar"), has(0, "7z\xbc\xaf\x27\x1c"), has(0, "Rar!"):
		return Archive
	case has(0, "\x7fELF"), has(0, "MZ"), has(0, "\xcf\xfa\xed\xfe"):
		return Executable
	}
	return sniffText(head)
}

// bmpHeader tells a bitmap from a text that starts with BM: the size of its second header is one of the known few.
func bmpHeader(head []byte) bool {
	if len(head) < 18 {
		return len(head) < 6 || head[5] == 0 // cut short: let the decoder say so
	}
	switch uint32(head[14]) | uint32(head[15])<<8 | uint32(head[16])<<16 | uint32(head[17])<<24 {
	case 12, 16, 40, 52, 56, 64, 108, 124:
		return true
	}
	return false
}

// isoBrand reads the brands of an ISO base media file (ISO 14496-12, section 4.3).
func isoBrand(head []byte) Format {
	size := int(head[0])<<24 | int(head[1])<<16 | int(head[2])<<8 | int(head[3])
	brands := head[8:min(len(head), max(size, 12))]
	for at := 0; at+4 <= len(brands); at += 4 {
		switch string(brands[at : at+4]) {
		case "avif", "avis":
			return AVIF
		case "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1":
			if bytes.Contains(brands, []byte("avif")) {
				return AVIF
			}
			return HEIC
		}
	}
	return Video
}

func sniffText(head []byte) Format {
	text := bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n"))
	starts := func(s string) bool { return bytes.HasPrefix(text, []byte(s)) }
	switch {
	case starts("<svg"), starts("<?xml") && bytes.Contains(text, []byte("<svg")):
		return SVG
	case starts("<!doctype html"), starts("<html"), starts("<head"), starts("<body"):
		return HTML
	}
	return Unknown
}

// rawExtensions are camera files in TIFF's clothing: their first directory is a thumbnail, which must not pass for
// the picture.
var rawExtensions = []string{".nef", ".nrw", ".arw", ".sr2", ".srf", ".dng", ".pef", ".srw", ".3fr", ".fff", ".iiq",
	".erf", ".mef", ".mos", ".dcr", ".kdc", ".rwl", ".cr2", ".raw"}

var pictureExtensions = []string{".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib",
	".webp", ".tif", ".tiff", ".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".jpx", ".svg", ".psd", ".ico",
	".cr3", ".orf", ".rw2", ".raf", ".x3f"}

func hasExtension(path string, list []string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	for _, e := range list {
		if ext == e {
			return true
		}
	}
	return false
}

// looksLikePicture says whether a file's name promises a picture.
func looksLikePicture(path string) bool {
	return hasExtension(path, pictureExtensions) || hasExtension(path, rawExtensions)
}

// formatOf is Sniff, and the one case where the name knows more than the first bytes.
func formatOf(path string, head []byte) Format {
	f := Sniff(head)
	if f == TIFF && hasExtension(path, rawExtensions) {
		return RAW
	}
	return f
}
