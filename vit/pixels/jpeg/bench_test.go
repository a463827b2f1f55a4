package jpeg

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// photograph is a sequential JPEG of w by h pixels, 4:2:0, with the detail and the noise of a camera's.
func photograph(b *testing.B, w, h int) []byte {
	src := decode(b, read(b, "photo_444"), 1)
	r := rand.New(rand.NewPCG(13, 14))
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			p := src.pix[3*((y/8%src.h)*src.w+x/8%src.w):][:3]
			n := int(r.Uint32() & 15)
			c := func(v uint8) uint8 { return uint8(min(int(v)+n, 255)) }
			m.SetNRGBA(x, y, color.NRGBA{c(p[0]), c(p[1]), c(p[2]), 255})
		}
	}
	var out bytes.Buffer
	require.NoError(b, stdjpeg.Encode(&out, m, &stdjpeg.Options{Quality: 90}))
	return out.Bytes()
}

func BenchmarkDecode(b *testing.B) {
	const w, h = 4000, 3000
	data := photograph(b, w, h)
	b.Run("image-jpeg", func(b *testing.B) {
		for b.Loop() {
			_, err := stdjpeg.Decode(bytes.NewReader(data))
			require.NoError(b, err)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/w/h, "ns/pixel")
	})
	for _, n := range Denominators {
		b.Run(fmt.Sprintf("1-%d", n), func(b *testing.B) {
			var d Decoder
			for b.Loop() {
				h, err := ReadHeader(data)
				require.NoError(b, err)
				require.NoError(b, d.Decode(h, n, func(int, []uint8) {}))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/w/h, "ns/pixel")
		})
	}
}
