package jpeg

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const dir = "../../../testdata/jpeg"

// files are the names of the pictures, without the suffix.
func files(t testing.TB) (names []string) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
	require.NoError(t, err)
	require.Len(t, paths, 33)
	for _, p := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(p), ".jpg"))
	}
	return names
}

func read(t testing.TB, name string) []byte {
	data, err := os.ReadFile(filepath.Join(dir, name+".jpg"))
	require.NoError(t, err)
	return data
}

// picture is RGB, interleaved.
type picture struct {
	w, h int
	pix  []uint8
}

func decodeWith(d *Decoder, data []byte, denominator int) (picture, error) {
	h, err := ReadHeader(data)
	if err != nil {
		return picture{}, err
	}
	var p picture
	p.w, p.h = h.Size(denominator)
	err = d.Decode(h, denominator, func(y int, rgb []uint8) {
		if y*3*p.w != len(p.pix) || len(rgb) != 3*p.w {
			panic("rows come in order and are of the width")
		}
		p.pix = append(p.pix, rgb...)
	})
	if err == nil && len(p.pix) != 3*p.w*p.h {
		err = fmt.Errorf("%d bytes of pixels for %dx%d", len(p.pix), p.w, p.h)
	}
	return p, err
}

func decode(t testing.TB, data []byte, denominator int) picture {
	p, err := decodeWith(new(Decoder), data, denominator)
	require.NoError(t, err)
	return p
}

// pillow returns what Pillow makes of a picture at a denominator: the four sizes stand one below the other in a PNG file.
// It is magenta where Pillow has no such size.
func pillow(t testing.TB, name string, denominator int, w, h int) (p picture, ok bool) {
	f, err := os.Open(filepath.Join(dir, name+".png"))
	require.NoError(t, err)
	defer f.Close()
	m, err := png.Decode(f)
	require.NoError(t, err)
	full := [2]int{m.Bounds().Dx(), 0}
	for full[1] = 1; ; full[1]++ {
		sum := 0
		for _, n := range Denominators {
			sum += ceilDiv(full[1], n)
		}
		if sum == m.Bounds().Dy() {
			break
		}
		require.Less(t, sum, m.Bounds().Dy())
	}
	top := 0
	for _, n := range Denominators {
		p.w, p.h = ceilDiv(full[0], n), ceilDiv(full[1], n)
		if n == denominator {
			break
		}
		top += p.h
	}
	require.Equal(t, [2]int{w, h}, [2]int{p.w, p.h})
	for y := range p.h {
		for x := range p.w {
			r, g, b, _ := m.At(x, top+y).RGBA()
			p.pix = append(p.pix, uint8(r>>8), uint8(g>>8), uint8(b>>8))
			ok = ok || r>>8 != 255 || g>>8 != 0 || b>>8 != 255
		}
	}
	return p, ok
}

// difference returns the largest and the mean difference of two pictures of one size.
func difference(t testing.TB, a, b picture) (worst int, mean float64) {
	require.Equal(t, [2]int{a.w, a.h}, [2]int{b.w, b.h})
	for i, v := range a.pix {
		d := int(v) - int(b.pix[i])
		d = max(d, -d)
		worst = max(worst, d)
		mean += float64(d) / float64(len(a.pix))
	}
	return worst, mean
}

// wholeChroma says whether all components of a file have one size.
func wholeChroma(name string) bool {
	return strings.Contains(name, "444") || strings.Contains(name, "gray") || name == "rgb" || name == "restart"
}

// TestPillow compares with Pillow, that is with libjpeg-turbo.
//
//   - All components of one size, at full size or at an eighth: the same pixels. An eighth is the mean of a block in both.
//   - Full size, chroma subsampled: libjpeg interpolates chroma and we repeat it. In the smooth pictures chroma changes by
//     at most 7 levels from sample to sample of the coarsest of them; half of that, times 1.772, and rounding make 8.
//   - A half and a quarter: libjpeg takes the mean of pixels, we the low frequencies. In the smooth pictures the two are
//     the same up to the curvature within a block: within 8 levels, and 1.5 on average. Photographs tell them apart.
//
// Reduced pictures with other sampling factors than 4:2:0 are compared in TestReducedIsNearTheMean: of those Pillow 13
// makes something that is not its own full picture reduced.
func TestPillow(t *testing.T) {
	compared := 0
	for _, name := range files(t) {
		if _, err := os.Stat(filepath.Join(dir, name+".png")); err != nil {
			continue
		}
		for _, n := range Denominators {
			got := decode(t, read(t, name), n)
			want, ok := pillow(t, name, n, got.w, got.h)
			if !ok || n > 1 && !wholeChroma(name) && !strings.Contains(name, "420") {
				continue
			}
			compared++
			worst, mean := difference(t, got, want)
			switch {
			case wholeChroma(name) && (n == 1 || n == 8):
				require.Zero(t, worst, "%s 1/%d", name, n)
			case strings.Contains(name, "photo") || wholeChroma(name) && !strings.HasPrefix(name, "444"):
				require.Less(t, mean, 6.0, "%s 1/%d", name, n)
			default:
				require.LessOrEqual(t, worst, 8, "%s 1/%d, mean %g", name, n, mean)
				require.Less(t, mean, 1.5, "%s 1/%d", name, n)
			}
		}
	}
	require.Greater(t, compared, 80)
}

// TestReducedIsNearTheMean compares reduced smooth pictures with the means of the pixels of Pillow's full ones. Two
// frequencies for eight samples make a slope 14 % too steep: 2.28 for 2 levels where it is 1 level a sample. Slopes go up
// to 6 levels a pixel, so that the bound is 0.28 * 6 * 8/2, and the mean is a quarter of it at most. A ratio of 3 to 2 puts
// chroma in the wrong place by up to a quarter of its samples as well.
func TestReducedIsNearTheMean(t *testing.T) {
	compared := 0
	for _, name := range files(t) {
		_, err := os.Stat(filepath.Join(dir, name+".png"))
		if err != nil || strings.Contains(name, "photo") || wholeChroma(name) && !strings.HasPrefix(name, "444") {
			continue
		}
		for _, n := range Denominators[1:] {
			got, full := decode(t, read(t, name), n), decode(t, read(t, name), 1)
			full, _ = pillow(t, name, 1, full.w, full.h)
			worst, mean, moved, cells := 0.0, 0.0, 0.0, 0
			for y := range full.h / n {
				for x := range full.w / n {
					for c := range 3 {
						sum := 0
						for i := range n * n {
							sum += int(full.pix[3*((y*n+i/n)*full.w+x*n+i%n)+c])
						}
						want := float64(sum) / float64(n*n)
						d := math.Abs(float64(got.pix[3*(y*got.w+x)+c]) - want)
						worst, mean, cells = max(worst, d), mean+d, cells+1
						moved += math.Abs(float64(got.pix[3*(y*got.w+min(x+1, got.w-1))+c]) - want)
					}
				}
			}
			if cells < 100 {
				continue
			}
			compared++
			if name == "311" {
				require.Less(t, mean, 6*float64(cells))
				continue
			}
			require.Less(t, worst, 6.8, "%s 1/%d", name, n)
			require.Less(t, mean, 1.7*float64(cells), "%s 1/%d", name, n)
			require.Greater(t, moved, 1.5*mean, "the next pixel is told apart")
		}
	}
	require.Greater(t, compared, 30)
}

// TestPillowComparisonFails is the control: a picture off by one column of pixels is told apart at each size.
func TestPillowComparisonFails(t *testing.T) {
	for _, n := range Denominators {
		got := decode(t, read(t, "420"), n)
		want, _ := pillow(t, "420", n, got.w, got.h)
		got.pix = append(got.pix[3:], 0, 0, 0)
		_, mean := difference(t, got, want)
		require.Greater(t, mean, 2.0)
	}
}

// standard is what image/jpeg makes of a picture, as RGB. Its YCCK comes out as CMYK.
func standard(data []byte) (picture, error) {
	m, err := stdjpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return picture{}, err
	}
	b := m.Bounds()
	p := picture{w: b.Dx(), h: b.Dy()}
	for y := range p.h {
		for x := range p.w {
			switch m := m.(type) {
			case *image.YCbCr:
				c := m.YCbCrAt(x, y)
				r, g, b := color.YCbCrToRGB(c.Y, c.Cb, c.Cr)
				p.pix = append(p.pix, r, g, b)
			default:
				r, g, b, _ := m.At(x, y).RGBA()
				p.pix = append(p.pix, uint8(r>>8), uint8(g>>8), uint8(b>>8))
			}
		}
	}
	return p, nil
}

// At full size image/jpeg's pixels are ours. A sample of each is within 0.7 of the exact value, so they differ by one; blue
// is luma and 1.772 times chroma, and its conversion rounds otherwise: 4.
func TestStandardLibrary(t *testing.T) {
	compared := 0
	for _, name := range files(t) {
		data := read(t, name)
		want, err := standard(data)
		if err != nil {
			require.ErrorContains(t, err, "subsampling ratio", name)
			continue
		}
		compared++
		worst, mean := difference(t, decode(t, data, 1), want)
		limit := 4
		if strings.HasPrefix(name, "gray") || name == "rgb" {
			limit = 1
		}
		require.LessOrEqual(t, worst, limit, name)
		require.Less(t, mean, 0.6, name)
	}
	require.Equal(t, 29, compared)
}

// A progressive file has the coefficients of the sequential one, so it has its pixels at each size; and a file with one
// component a scan those of the file that interleaves them.
func TestOneCodeAsTheOther(t *testing.T) {
	for _, pair := range [][2]string{
		{"444", "444_progressive"}, {"422", "422_progressive"}, {"420", "420_progressive"}, {"gray", "gray_progressive"},
		{"photo_444", "photo_444_progressive"}, {"photo_420", "photo_420_progressive"}, {"scans_444_restart", "wide_444"},
	} {
		for _, n := range Denominators {
			require.Equal(t, decode(t, read(t, pair[0]), n), decode(t, read(t, pair[1]), n), "%v 1/%d", pair, n)
		}
	}
}

// basis is the kernel of the inverse DCT of k points of the coefficients of eight.
func basis(k, x, u int) float64 {
	c := 0.5
	if u == 0 {
		c = math.Sqrt(0.125)
	}
	return c * math.Cos(float64((2*x+1)*u)*math.Pi/float64(2*k))
}

// The reduced picture is made of the low coefficients of each block of the full one, which Pillow decodes. A pixel of
// Pillow's is rounded, by half a level; through the transform and back that counts as often as the size of its weights
// sums to, and our own rounding comes on top.
func TestReducedIsLowFrequencies(t *testing.T) {
	for _, name := range []string{"gray", "rgb", "gray_progressive"} {
		for _, k := range []int{4, 2, 1} {
			got := decode(t, read(t, name), 8/k)
			full, _ := pillow(t, name, 1, 72, 56)
			var weight [8][8]float64 // [output][input]
			norm := 0.0
			for x := range k {
				sum := 0.0
				for i := range 8 {
					for u := range k {
						weight[x][i] += basis(k, x, u) * basis(8, i, u)
					}
					sum += math.Abs(weight[x][i])
				}
				norm = max(norm, sum)
			}
			compared, worst, moved := 0, 0.0, 0.0
			for by := range 56 / 8 {
				for bx := range 72 / 8 {
					block := func(x, y, c int) uint8 { return full.pix[3*((8*by+y)*72+8*bx+x)+c] }
					for c := range 3 {
						clamped := false
						for i := range 64 {
							v := block(i&7, i>>3, c)
							clamped = clamped || v == 0 || v == 255
						}
						if clamped {
							continue
						}
						for y := range k {
							for x := range k {
								want := 0.0
								for i := range 64 {
									want += weight[x][i&7] * weight[y][i>>3] * float64(block(i&7, i>>3, c))
								}
								at := func(x, y int) float64 { return float64(got.pix[3*((k*by+y)*got.w+k*bx+x)+c]) }
								compared++
								worst = max(worst, math.Abs(at(x, y)-min(max(want, 0), 255)))
								moved = max(moved, math.Abs(at((x+1)%k, y)-want))
							}
						}
					}
				}
			}
			bound := 0.5*norm*norm + 0.75
			require.Greater(t, compared, 63*k*k)
			require.Less(t, worst, bound, "%s 1/%d", name, 8/k)
			require.Greater(t, worst, 0.4, "rounding leaves a trace")
			if k > 1 {
				require.Greater(t, moved, 10*bound, "the next pixel is told apart")
			}
		}
	}
}

// The pixels of all files at all sizes, on every machine.
func TestPixelsAreTheSameEverywhere(t *testing.T) {
	hash := sha256.New()
	var d Decoder
	for _, name := range files(t) {
		for _, n := range Denominators {
			p, err := decodeWith(&d, read(t, name), n)
			require.NoError(t, err, name)
			hash.Write(p.pix)
			require.Equal(t, decode(t, read(t, name), n), p, "a decoder remembers nothing")
		}
	}
	require.Equal(t, "4cad2054f914394cf7d388ed93e1dd93bf30d032c54bc3fecccf139d78e55b2b", fmt.Sprintf("%x", hash.Sum(nil)))
}

func TestDecodeAllocatesNothing(t *testing.T) {
	for _, name := range []string{"420", "photo_444_progressive", "cmyk_2211", "scans_444_restart"} {
		h, err := ReadHeader(read(t, name))
		require.NoError(t, err)
		for _, n := range Denominators {
			var d Decoder
			row := func(int, []uint8) {}
			require.NoError(t, d.Decode(h, n, row))
			require.Zero(t, testing.AllocsPerRun(3, func() { _ = d.Decode(h, n, row) }), "%s 1/%d", name, n)
		}
	}
}

// held is the memory of a decoder.
func (d *Decoder) held() int64 {
	total := int64(80 << 10) // itself, about
	for i := range d.planes {
		p := &d.planes[i]
		total += int64(cap(p.strip) + 2*cap(p.coef) + 8*cap(p.nonzero) + cap(d.rows[i]))
	}
	return total + int64(cap(d.rgb))
}

func TestBytesBoundsMemory(t *testing.T) {
	for _, name := range files(t) {
		h, err := ReadHeader(read(t, name))
		require.NoError(t, err)
		for _, n := range Denominators {
			var d Decoder
			require.NoError(t, d.Decode(h, n, func(int, []uint8) {}))
			require.LessOrEqual(t, d.held(), h.Bytes(n), "%s 1/%d", name, n)
			require.Less(t, h.Bytes(n), d.held()+1<<17)
			d.Release()
			require.EqualValues(t, 80<<10, d.held())
		}
	}
}

// resize gives a file the header of a larger picture.
func resize(data []byte, w, h int) []byte {
	data = slices.Clone(data)
	for i := 0; i+9 < len(data); i++ {
		if data[i] == 0xff && (data[i+1] == markerSOF0 || data[i+1] == markerSOF2) {
			copy(data[i+5:], []byte{byte(h >> 8), byte(h), byte(w >> 8), byte(w)})
			return data
		}
	}
	panic("no frame header")
}

// What a photograph of twelve megapixels takes: a row of blocks if it is sequential, and of a progressive one what is kept
// of the coefficients.
func TestMemoryOfAPhotograph(t *testing.T) {
	for _, c := range []struct {
		name string
		most [4]int64
	}{
		{"420", [4]int64{1 << 20, 1 << 20, 1 << 20, 1 << 20}},
		{"420_progressive", [4]int64{40 << 20, 25 << 20, 10 << 20, 4 << 20}},
	} {
		h, err := ReadHeader(resize(read(t, c.name), 4000, 3000))
		require.NoError(t, err)
		for i, n := range Denominators {
			require.Less(t, h.Bytes(n), c.most[i], "%s 1/%d", c.name, n)
		}
	}
}
