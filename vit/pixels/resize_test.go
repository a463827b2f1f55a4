package pixels

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const resizeDir = "../../testdata/resize"

func load(t testing.TB, name string) Image {
	img, err := Load(filepath.Join(resizeDir, name), Limits{})
	require.NoError(t, err)
	return img
}

// The results are Pillow's, bit for bit.
func TestResizeIsPillows(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(resizeDir, "index.json"))
	require.NoError(t, err)
	var cases []struct {
		Source, Filter, SHA256 string
		W, H                   int
	}
	require.NoError(t, json.Unmarshal(data, &cases))
	require.Len(t, cases, 16)
	filters := map[string]Filter{"bilinear": Bilinear, "bicubic": Bicubic}
	var r Resizer
	var dst Image
	for _, c := range cases {
		src := load(t, c.Source)
		r.Resize(&dst, src, src.Bounds(), c.W, c.H, filters[c.Filter])
		require.Equal(t, c.SHA256, fmt.Sprintf("%x", sha256.Sum256(dst.Pix)), "%+v", c)
	}
	for name, f := range filters { // in pixels, for the day the hashes differ
		for _, side := range []int{32, 96} {
			src := load(t, "src0.png")
			r.Resize(&dst, src, src.Bounds(), side, side, f)
			require.Zero(t, maxDifference(t, dst, load(t, fmt.Sprintf("src0_%dx%d_%s.png", side, side, name))))
		}
	}
}

func noise(seed uint64, w, h int) Image {
	img := NewImage(w, h)
	fill(rand.New(rand.NewPCG(seed, 5)), img.Pix)
	return img
}

// scaled scales a box by the same kernel in float64, without rounding between the passes.
func scaled(src Image, b Box, w, h int, f Filter) []float64 {
	weights := func(n int, from, to float64, out int) [][]float64 {
		scale := (to - from) / float64(out)
		stretch := math.Max(scale, 1)
		all := make([][]float64, out)
		for o := range all {
			all[o] = make([]float64, n)
			center, total := from+(float64(o)+0.5)*scale, 0.0
			for i := range n {
				if x := (float64(i) + 0.5 - center) / stretch; math.Abs(float64(i)+0.5-center) <= f.support()*stretch {
					all[o][i] = f.weight(x)
					total += all[o][i]
				}
			}
			for i := range n {
				all[o][i] /= total
			}
		}
		return all
	}
	wx := weights(src.W, float64(b.X0), float64(b.X1), w)
	wy := weights(src.H, float64(b.Y0), float64(b.Y1), h)
	out := make([]float64, 3*w*h)
	for y := range h {
		for x := range w {
			for c := range 3 {
				sum := 0.0
				for j, v := range wy[y] {
					for i, u := range wx[x] {
						if u*v != 0 {
							sum += u * v * float64(src.Pix[3*(j*src.W+i)+c])
						}
					}
				}
				out[3*(y*w+x)+c] = min(max(sum, 0), 255)
			}
		}
	}
	return out
}

// A box with fractional edges agrees with the kernel in real numbers. Bilinear: half a level of rounding a pass.
// Bicubic: the weights of a pass sum to 1.25 in size at most, so the first rounding counts 0.63, the second 0.5, and
// the clamp between the passes, for noise, a few levels where a sum overshoots.
func TestResizeBox(t *testing.T) {
	src := noise(7, 23, 19)
	var r Resizer
	var dst Image
	for _, box := range []Box{{0, 0, 23, 19}, {3, 2, 9, 17}, {0.25, 3.5, 22.75, 4.75}, {7.1, 7.2, 7.9, 8.3}} {
		for _, size := range [][2]int{{5, 4}, {16, 16}, {40, 30}, {1, 1}} {
			r.Resize(&dst, src, box, size[0], size[1], Bilinear)
			require.Less(t, worst(dst, scaled(src, box, size[0], size[1], Bilinear)), 1.01, "%v %v", box, size)
		}
	}
	smooth := NewImage(23, 19)
	for y := range smooth.H {
		for x := range smooth.W {
			copy(smooth.Pix[3*(y*smooth.W+x):], []uint8{uint8(40 + 7*x), uint8(50 + 8*y), uint8(60 + 3*x + 4*y)})
		}
	}
	for _, box := range []Box{{0, 0, 23, 19}, {0.25, 3.5, 22.75, 14.75}} {
		r.Resize(&dst, smooth, box, 11, 13, Bicubic)
		require.Less(t, worst(dst, scaled(smooth, box, 11, 13, Bicubic)), 1.15, "%v", box)
		require.Greater(t, worst(dst, scaled(smooth, box, 11, 13, Bilinear)), 1.15, "the two kernels can be told apart")
	}
}

func worst(got Image, want []float64) (d float64) {
	for i, v := range got.Pix {
		d = max(d, math.Abs(float64(v)-want[i]))
	}
	return d
}

func TestResizeKeepsFlatPictures(t *testing.T) {
	src := NewImage(31, 17)
	for i := range src.Pix {
		src.Pix[i] = uint8(250 + i%3)
	}
	var r Resizer
	var dst Image
	for _, f := range []Filter{Bilinear, Bicubic} {
		for _, n := range []int{1, 7, 31, 64} {
			r.Resize(&dst, src, src.Bounds(), n, n, f)
			for i, v := range dst.Pix {
				require.EqualValues(t, 250+i%3, v)
			}
		}
	}
}

func TestResizeOwnSizeCopies(t *testing.T) {
	src := noise(8, 9, 5)
	var r Resizer
	var dst Image
	r.Resize(&dst, src, src.Bounds(), 9, 5, Bicubic)
	require.Equal(t, src, dst)
	r.resize(&dst, src, src.Bounds(), 9, 5, window{0, 0, 9, 5}, Bicubic) // through both passes
	require.Equal(t, src, dst)
}

// TestResizePairs holds the two sums in one word against sums of their own, on samples that make them largest: 0 and 255 in
// turns and at random, at sizes that leave over one to three rows and one to seven columns.
func TestResizePairs(t *testing.T) {
	plain := func(src Image, w, h int, f Filter) Image {
		var x, y axis
		x.set(src.W, 0, float32(src.W), w, 0, w, f)
		y.set(src.H, 0, float32(src.H), h, 0, h, f)
		pass := func(a *axis, o int, sample func(i int32) uint8) uint8 {
			sum := int64(1 << (precision - 1))
			for k := range a.count[o] {
				sum += int64(a.weight[o*a.width+int(k)]) * int64(sample(a.first[o]+k))
			}
			return uint8(min(max(sum>>precision, 0), 255))
		}
		temp, dst := NewImage(w, src.H), NewImage(w, h)
		for i := range temp.Pix {
			row, o, c := i/(3*w), i/3%w, i%3
			temp.Pix[i] = pass(&x, o, func(k int32) uint8 { return src.Pix[3*(row*src.W+int(k))+c] })
		}
		for i := range dst.Pix {
			dst.Pix[i] = pass(&y, i/(3*w), func(k int32) uint8 { return temp.Pix[3*w*int(k)+i%(3*w)] })
		}
		return dst
	}
	var r Resizer
	for _, size := range [][4]int{{9, 9, 5, 5}, {16, 6, 7, 9}, {31, 13, 8, 4}, {5, 11, 23, 31}, {64, 3, 11, 1}, {2, 2, 13, 10}, {40, 40, 40, 39}} {
		for period := range 4 {
			src := noise(uint64(period), size[0], size[1])
			for i, v := range src.Pix {
				src.Pix[i] = uint8(int8(v) >> 7)
				if period > 0 && (i/3%src.W+i/3/src.W)%(period+1) == 0 {
					src.Pix[i] = 255
				}
			}
			for _, f := range []Filter{Bilinear, Bicubic} {
				var dst Image
				r.Resize(&dst, src, src.Bounds(), size[2], size[3], f)
				require.Equal(t, plain(src, size[2], size[3], f), dst, "%v, filter %d", size, f)
			}
		}
	}
}

func TestResizePanics(t *testing.T) {
	var r Resizer
	var dst Image
	src := noise(9, 4, 4)
	for _, b := range []Box{{-1, 0, 4, 4}, {0, 0, 5, 4}, {2, 2, 2, 4}, {X1: float32(math.NaN()), Y1: 4}} {
		require.Panics(t, func() { r.Resize(&dst, src, b, 2, 2, Bilinear) })
	}
	require.Panics(t, func() { r.Resize(&dst, src, src.Bounds(), 0, 2, Bilinear) })
	require.Panics(t, func() { r.Resize(&dst, Image{W: 2, H: 2}, Box{X1: 2, Y1: 2}, 2, 2, Bilinear) })
}

func TestCenterCropIsResizeAndCrop(t *testing.T) {
	var r, q Resizer
	var got, full Image
	for _, size := range [][2]int{{50, 31}, {31, 50}, {9, 9}, {16, 40}, {200, 17}} {
		src := noise(10, size[0], size[1])
		for _, crop := range [][2]int{{16, 16}, {24, 8}, {7, 30}} {
			cw, ch := crop[0], crop[1]
			CenterCrop(&got, &r, src, cw, ch)
			scale := max(float64(cw)/float64(src.W), float64(ch)/float64(src.H))
			w, h := int(math.RoundToEven(float64(src.W)*scale)), int(math.RoundToEven(float64(src.H)*scale))
			q.Resize(&full, src, src.Bounds(), w, h, Bicubic)
			want := NewImage(cw, ch)
			for y := range ch {
				copy(want.Pix[3*cw*y:3*cw*(y+1)], full.Pix[3*((y+(h-ch)/2)*w+(w-cw)/2):])
			}
			require.Equal(t, want, got, "%v of %v", crop, size)
		}
	}
}

func TestPreprocess(t *testing.T) {
	p := NewPreprocessor(Spec{Size: 16, Mean: ImageNetMean, Std: ImageNetStd})
	src := noise(11, 16, 16)
	dst := make([]float32, 3*16*16)
	p.Preprocess(dst, src)
	for c := range 3 {
		for i := range 256 {
			want := (float64(src.Pix[3*i+c])/255 - float64(ImageNetMean[c])) / float64(ImageNetStd[c])
			require.InDelta(t, want, dst[256*c+i], 1e-6) // three roundings of values below 3: 3 * 2^-23
		}
	}
	require.Panics(t, func() { p.Normalize(dst, noise(1, 8, 8)) })
	require.Panics(t, func() { p.Normalize(dst[:5], src) })

	// Pictures of extreme shape cost as little as others and give a picture.
	for _, size := range [][2]int{{1, 1}, {1, 10000}, {65535, 8}} {
		img := noise(12, size[0], size[1])
		p.Preprocess(dst, img)
		require.Less(t, cap(p.resizer.temp)+cap(p.crop.Pix)+4*cap(p.resizer.x.weight)+4*cap(p.resizer.y.weight), 1<<20)
	}
}

func TestPreprocessAllocatesNothing(t *testing.T) {
	p := NewPreprocessor(Spec{Size: 24, Mean: ImageNetMean, Std: ImageNetStd})
	src, dst := noise(13, 70, 50), make([]float32, 3*24*24)
	p.Preprocess(dst, src)
	require.Zero(t, testing.AllocsPerRun(20, func() { p.Preprocess(dst, src) }))
}

func BenchmarkPreprocess(b *testing.B) {
	for _, size := range [][2]int{{500, 375}, {4000, 3000}} {
		b.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(b *testing.B) {
			p := NewPreprocessor(Spec{Size: 224, Mean: ImageNetMean, Std: ImageNetStd})
			src, dst := noise(14, size[0], size[1]), make([]float32, 3*224*224)
			for b.Loop() {
				p.Preprocess(dst, src)
			}
		})
	}
}
