package pixels

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSniff(t *testing.T) {
	for want, heads := range map[Format][]string{
		JPEG:       {"\xff\xd8\xff\xe0", "\xff\xd8\xff\xdb"},
		PNG:        {"\x89PNG\r\n\x1a\n"},
		GIF:        {"GIF87a", "GIF89a"},
		BMP:        {"BM\x00\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00"},
		WebP:       {"RIFF\x00\x00\x00\x00WEBPVP8 "},
		TIFF:       {"II*\x00\x08\x00\x00\x00", "MM\x00*\x00\x00\x00\x08"},
		BigTIFF:    {"II+\x00"},
		HEIC:       {"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic"},
		AVIF:       {"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1miaf", "\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif"},
		RAW:        {"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01", "II*\x00\x10\x00\x00\x00CR\x02\x00", "FUJIFILMCCD-RAW 0201"},
		JPEGXL:     {"\xff\x0a\x01", "\x00\x00\x00\x0cJXL \r\n\x87\n"},
		JPEG2000:   {"\x00\x00\x00\x0cjP  \r\n\x87\n"},
		SVG:        {"<svg xmlns=", "<?xml version=\"1.0\"?>\n<svg>"},
		PSD:        {"8BPS\x00\x01"},
		ICO:        {"\x00\x00\x01\x00\x01\x00\x10\x10"},
		PDF:        {"%PDF-1.7"},
		HTML:       {"\n<!DOCTYPE html>", "<HTML>"},
		Video:      {"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00", "\x1a\x45\xdf\xa3"},
		Archive:    {"PK\x03\x04"},
		Executable: {"\x7fELF\x02"},
		Unknown:    {"", "B", "BMW is a car maker, not a bitmap", "hello", "\x00\x00\x00\x00", "\xff\xd8"},
	} {
		for _, head := range heads {
			require.Equal(t, want, Sniff([]byte(head)), "%q", head)
			for n := range head {
				Sniff([]byte(head)[:n:n]) // short heads do not panic
			}
		}
		require.NotEmpty(t, want.String())
	}
}
