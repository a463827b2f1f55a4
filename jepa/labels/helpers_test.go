package labels

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/vit/pixels"
)

// tree writes files into a new folder. A name that ends in .png or .jpg is a picture whose content gives its size, as in
// "8x6" or, for a JPEG with EXIF orientation 6, "8x6@6"; two pictures differ if their names do.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		put(t, filepath.Join(dir, name), content)
	}
	return dir
}

func put(t testing.TB, path, content string) {
	t.Helper()
	data := []byte(content)
	var w, h, orientation int
	switch ext := filepath.Ext(path); {
	case ext != ".png" && ext != ".jpg":
	case strings.HasPrefix(content, "\x89PNG"), strings.HasPrefix(content, "raw:"):
		data = []byte(strings.TrimPrefix(content, "raw:"))
	default:
		if n, _ := fmt.Sscanf(content, "%dx%d@%d", &w, &h, &orientation); n < 2 {
			t.Fatalf("%q is no size", content)
		}
		img := image.NewGray(image.Rect(0, 0, w, h))
		for i := range img.Pix {
			img.Pix[i] = byte(crc32.ChecksumIEEE([]byte(filepath.Base(path)))>>(i%4*8)) + byte(i)
		}
		var b bytes.Buffer
		if ext == ".png" {
			require.NoError(t, png.Encode(&b, img))
			data = b.Bytes()
		} else {
			require.NoError(t, jpeg.Encode(&b, img, nil))
			data = withOrientation(b.Bytes(), orientation)
		}
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// withOrientation puts an EXIF segment with one tag into a JPEG.
func withOrientation(data []byte, orientation int) []byte {
	if orientation == 0 {
		return data
	}
	tiff := []byte("MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")
	binary.BigEndian.PutUint16(tiff[18:], uint16(orientation))
	segment := append([]byte("Exif\x00\x00"), tiff...)
	head := []byte{0xff, 0xd8, 0xff, 0xe1, 0, byte(len(segment) + 2)}
	return append(append(head, segment...), data[2:]...)
}

// encoded is a PNG as a string.
func encoded(t testing.TB, m image.Image) string {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	return b.String()
}

// grey is a mask of one row.
func grey(t testing.TB, values ...uint8) string {
	m := image.NewGray(image.Rect(0, 0, len(values), 1))
	copy(m.Pix, values)
	return encoded(t, m)
}

// indexed is a mask of one row with a palette.
func indexed(t testing.TB, palette color.Palette, values ...uint8) string {
	m := image.NewPaletted(image.Rect(0, 0, len(values), 1), palette)
	copy(m.Pix, values)
	return encoded(t, m)
}

// coloured is a mask of one row of colours 0xRRGGBB.
func coloured(t testing.TB, values ...uint32) string {
	m := image.NewNRGBA(image.Rect(0, 0, len(values), 1))
	for x, v := range values {
		m.Set(x, 0, color.NRGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255})
	}
	return encoded(t, m)
}

// collect gives options that gather problems, with the folder taken off their files.
func collect(dir string) (Options, func() []string) {
	var got []string
	return Options{OnProblem: func(p *Problem) {
		got = append(got, strings.ReplaceAll(p.Error(), dir+string(filepath.Separator), ""))
	}}, func() []string { return got }
}

// relative takes the folder off paths.
func relative(dir string, paths []string) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = filepath.ToSlash(strings.TrimPrefix(p, dir+string(filepath.Separator)))
	}
	return out
}

// checkFitted holds what is true of every box that comes out of a reading, whatever went in.
func (b *boxReader) checkFitted(t *testing.T, boxes []rawBox, lines int) {
	size := pixels.Size{W: 640, H: 480, Orientation: 1}
	for _, raw := range boxes {
		require.True(t, raw.line >= 1 && raw.line <= lines, "line %d of %d", raw.line, lines)
		require.True(t, raw.Class >= 0 && raw.Class < len(b.classes.names))
		if raw.relative {
			raw.scale(640, 480)
		}
		if x, ok := b.fit(raw, size, "box", "file"); ok {
			require.True(t, 0 <= x.X0 && x.X0 < x.X1 && x.X1 <= 640 && 0 <= x.Y0 && x.Y0 < x.Y1 && x.Y1 <= 480, "%v", x)
			require.True(t, x.Area >= 0 && x.Area-x.Area == 0)
		}
	}
}

func deflated(data []byte) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}
