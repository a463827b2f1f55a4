package pixels

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/vit/pixels/jpeg"
)

// allocated is how many bytes do takes.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A file of any kind is a picture within the limits or one line that says why not, and memory keeps the limits too.
func FuzzDecode(f *testing.F) {
	for _, c := range hostileCases(f) {
		data, err := os.ReadFile(filepath.Join(hostileDir, c.File))
		require.NoError(f, err)
		f.Add(data)
	}
	cut, err := os.ReadFile(filepath.Join(hostileDir, "trunc_webp_15of16.webp"))
	require.NoError(f, err)
	copy(cut[4:], "\xff\xff\xff\x7f")  // of the file
	copy(cut[16:], "\x80\x00\x80\x00") // of the pixels: x/image sets as much aside
	f.Add(cut)
	lim := Limits{MaxPixels: 1 << 15, MaxBytes: 1 << 18}
	f.Fuzz(func(t *testing.T, data []byte) {
		if Sniff(data) == PNG {
			data = withCRCs(data)
		}
		var img Image
		var err error
		// Beside the pixels decoders take tables and what they inflate, some of it twice as lists grow.
		most := uint64(4*lim.MaxBytes + 2<<20 + 40*int64(len(data)))
		require.LessOrEqual(t, allocated(func() { img, err = Decode(data, lim) }), most)
		if err != nil {
			require.Equal(t, Image{}, img)
			for _, r := range err.Error() {
				require.True(t, r >= ' ' && r != 0x7f, "%q", err)
			}
			return
		}
		require.True(t, img.valid())
		require.LessOrEqual(t, int64(img.W)*int64(img.H), lim.MaxPixels)
	})
}

// withCRCs returns a PNG file whose checksums are right, so that what is behind them is reached.
func withCRCs(data []byte) []byte {
	data = append([]byte(nil), data...)
	for at := 8; at+12 <= len(data); {
		size := uint64(binary.BigEndian.Uint32(data[at:]))
		if size+12 > uint64(len(data)-at) {
			break
		}
		end := at + 8 + int(size)
		binary.BigEndian.PutUint32(data[end:], crc32.ChecksumIEEE(data[at+4:end]))
		at = end + 4
	}
	return data
}

// Tags never cost more than in proportion to their bytes, and give an orientation that exists.
func FuzzMetadata(f *testing.F) {
	for _, c := range hostileCases(f) {
		data, err := os.ReadFile(filepath.Join(hostileDir, c.File))
		require.NoError(f, err)
		switch Sniff(data) {
		case JPEG:
			if h, err := jpeg.ReadHeader(data); err == nil && h.EXIF != nil {
				f.Add(h.EXIF)
			}
		case PNG:
			if tags := pngEXIF(data); tags != nil {
				f.Add(tags)
			}
		case WebP:
			if tags := webpEXIF(data); tags != nil {
				f.Add(tags)
			}
		case TIFF:
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		pngEXIF(block)
		webpEXIF(block)
		var m metadata
		require.LessOrEqual(t, allocated(func() { m = readMetadata(block) }), uint64(1<<20+64*len(block)))
		require.True(t, m.orientation >= 1 && m.orientation <= 8, m.orientation)
	})
}
