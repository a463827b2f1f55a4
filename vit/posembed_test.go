package vit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

var posembedShapes = [][3]int{{4, 1, 1}, {8, 3, 5}, {32, 6, 6}, {128, 8, 8}, {384, 14, 14}, {64, 64, 64}}

// The formula of the comment with the standard library's functions.
func TestSinCos2D(t *testing.T) {
	for _, s := range posembedShapes {
		dim, h, w := s[0], s[1], s[2]
		got := SinCos2D(dim, h, w)
		require.Len(t, got, dim*h*w)
		n := dim / 4
		worst := 0.0
		for y := range h {
			for x := range w {
				for j, v := range got[(y*w+x)*dim:][:dim] {
					at := float64(x)
					if j >= 2*n {
						at = float64(y)
					}
					at *= math.Pow(10000, -float64(j%n)/float64(n))
					want := math.Sin(at)
					if j/n%2 == 1 {
						want = math.Cos(at)
					}
					worst = max(worst, math.Abs(float64(v)-want))
				}
			}
		}
		// Half a unit in the last place below 1 is 2^-25; the float64 functions are far closer.
		require.LessOrEqual(t, worst, 0x1p-25+1e-12, "%v", s)
	}
	require.Panics(t, func() { SinCos2D(6, 2, 2) })
}

// Columns come first: the official code's order, whatever its names say.
func TestSinCos2DOrder(t *testing.T) {
	p := SinCos2D(8, 2, 3)
	row0col2, row1col0 := p[2*8:3*8], p[3*8:4*8]
	sin2, sin1 := float32(math.Sin(2)), float32(math.Sin(1))
	require.Equal(t, []float32{sin2, 0}, []float32{row0col2[0], row0col2[4]})
	require.Equal(t, []float32{0, sin1}, []float32{row1col0[0], row1col0[4]})
}

// The positions are added to every token of every model: their bits are the same on every machine.
func TestSinCos2DHash(t *testing.T) {
	sum := sha256.New()
	for _, s := range posembedShapes {
		for _, v := range SinCos2D(s[0], s[1], s[2]) {
			sum.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
		}
	}
	require.Equal(t, "68e80f4a616e4ad338ffe556fc9c00e40dd8613eb18a736f35ddf9ab86cc42dd", hex.EncodeToString(sum.Sum(nil)))
}
