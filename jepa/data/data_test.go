package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/rng"
	"edgejepa/vit/pixels"
)

// draw returns a PNG of w by h pixels that no other seed gives.
func draw(t testing.TB, seed, w, h int) []byte {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, color.NRGBA{uint8(x*5 + seed*40), uint8(y*3 + x*seed), uint8((x * y) ^ seed), 255})
		}
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	return b.Bytes()
}

// folder writes n pictures of various sizes, 000.png and up, and returns the folder.
func folder(t testing.TB, n int) string {
	dir := t.TempDir()
	for i := range n {
		put(t, dir, fmt.Sprintf("%03d.png", i), draw(t, i, 20+7*(i%5), 16+11*(i%4)))
	}
	return dir
}

func put(t testing.TB, dir, name string, data []byte) {
	path := filepath.Join(dir, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, data, 0o644))
}

const size = 8

func open(t testing.TB, o Options, paths ...string) *Set {
	o.ImageSize = size
	s, err := Open(paths, o)
	require.NoError(t, err)
	return s
}

var augment = AugmentOptions{CropScale: [2]float64{0.3, 1}, Flip: true, Mean: pixels.ImageNetMean, Std: pixels.ImageNetStd}

// stream returns a copy of batches [step, step+n).
func stream(t testing.TB, s *Set, o LoaderOptions, n int) []Batch {
	if o.Augment == (AugmentOptions{}) {
		o.Augment = augment
	}
	l := NewLoader(s, o)
	defer l.Close()
	var out []Batch
	for range n {
		b, err := l.Next(context.Background())
		require.NoError(t, err)
		b.Pixels = append([]float32(nil), b.Pixels...)
		b.Index = append([]int(nil), b.Index...)
		out = append(out, b)
	}
	return out
}

func TestBatchesArePure(t *testing.T) {
	dir := folder(t, 23)
	put(t, dir, "007.png", []byte("\x89PNG\r\n\x1a\n broken")) // one picture cannot be decoded
	put(t, dir, "big.png", draw(t, 99, 50, 90))                // one is scaled down
	const steps = 17                                           // the third epoch of 6 batches is begun
	want := stream(t, open(t, Options{}, dir), LoaderOptions{Batch: 4, Seed: 3, Workers: 1}, steps)
	for _, workers := range []int{2, 7} {
		for _, cache := range []int64{0, 9000, 1 << 30} {
			s := open(t, Options{}, dir)
			s.Cache(cache)
			require.Equal(t, want, stream(t, s, LoaderOptions{Batch: 4, Seed: 3, Workers: workers, Slots: 1 + workers%3}, steps), "%d workers, cache %d", workers, cache)
			require.GreaterOrEqual(t, s.budget.Load(), int64(0))
		}
	}
	for _, step := range []int{1, 6, 7, 13} {
		require.Equal(t, want[step:], stream(t, open(t, Options{}, dir), LoaderOptions{Batch: 4, Seed: 3, Step: step, Workers: 3}, steps-step), "resumed at %d", step)
	}
	require.NotEqual(t, want[0].Pixels, stream(t, open(t, Options{}, dir), LoaderOptions{Batch: 4, Seed: 4, Workers: 3}, 1)[0].Pixels, "another seed")
}

// The bits are part of what a run is: they are the same on every machine and for every version of this package.
func TestBatchGolden(t *testing.T) {
	b := stream(t, open(t, Options{}, folder(t, 9)), LoaderOptions{Batch: 8, Seed: 1, Step: 2}, 1)[0]
	require.Equal(t, []int{7, 3, 6, 4, 0, 1, 5, 8}, b.Index)
	var raw []byte
	for _, v := range b.Pixels {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	require.Equal(t, "bf901c6b311e7817b91c2c28c6b5eb4c2f6129ee0a670a8fa7dd40a1a2cd741a", fmt.Sprintf("%x", sha256.Sum256(raw)))
}

func TestEpochs(t *testing.T) {
	s := open(t, Options{}, folder(t, 11))
	batches := stream(t, s, LoaderOptions{Batch: 3, Seed: 5}, 9) // 3 a epoch, two pictures dropped
	for e := range 3 {
		seen := map[int]bool{}
		for _, b := range batches[3*e : 3*e+3] {
			require.Equal(t, e, b.Epoch)
			for _, i := range b.Index {
				require.False(t, seen[i], "picture %d twice in epoch %d", i, e)
				seen[i] = true
			}
		}
	}
	require.Equal(t, 8, batches[8].Step)
	require.NotEqual(t, batches[0].Index, batches[3].Index)
}

// A set smaller than a batch is gone round, and a picture that comes twice comes in two crops.
func TestSmallSet(t *testing.T) {
	b := stream(t, open(t, Options{}, folder(t, 3)), LoaderOptions{Batch: 7, Seed: 6}, 2)
	require.Equal(t, b[0].Index[:3], b[0].Index[3:6])
	require.Equal(t, b[0].Index[0], b[0].Index[6])
	const n = 3 * size * size
	require.NotEqual(t, b[0].Pixels[:n], b[0].Pixels[3*n:4*n])
	require.NotEqual(t, b[0].Pixels[:n], b[0].Pixels[6*n:7*n])
	require.Equal(t, 1, b[1].Epoch)
}

func TestUnreadablePictures(t *testing.T) {
	dir := folder(t, 5)
	put(t, dir, "001.png", []byte("\x89PNG\r\n\x1a\n broken"))
	put(t, dir, "002.png", []byte("\x89PNG\r\n\x1a\n broken too"))
	put(t, dir, "page.jpg", []byte("<html>"))
	put(t, dir, "notes.txt", []byte("a word"))
	var told []string
	s := open(t, Options{OnSkip: func(err error) { told = append(told, err.Error()) }}, dir) // not safe for concurrent use: the race detector watches
	require.Len(t, told, 1, "what the walk passes over is told by Open")
	batches := stream(t, s, LoaderOptions{Batch: 5, Seed: 7, Workers: 3}, 6)
	require.Len(t, told, 3, "each once, though met in each epoch")
	require.Equal(t, 3, s.Skipped())
	require.EqualValues(t, 1, s.Others())
	all := strings.Join(told, "\n")
	require.Contains(t, all, "001.png: PNG: ")
	require.Contains(t, all, "002.png: PNG: ")

	// The replacement is the next readable picture, cropped as the unreadable one would have been.
	third, err := s.Picture(3)
	require.NoError(t, err)
	want := make([]float32, 3*size*size)
	NewAugmenter(size, augment).Augment(want, third, 7, 0, 1)
	for row, i := range batches[0].Index {
		if i == 1 {
			require.Equal(t, want, batches[0].Pixels[row*len(want):(row+1)*len(want)])
		}
	}
	_, err = s.Picture(1)
	require.ErrorContains(t, err, "001.png: could not be read before")
}

func TestNothingReadable(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"a.png", "b.png"} {
		put(t, dir, n, []byte("\x89PNG\r\n\x1a\n broken"))
	}
	s := open(t, Options{}, dir)
	l := NewLoader(s, LoaderOptions{Batch: 2, Workers: 2, Augment: augment})
	defer l.Close()
	_, err := l.Next(context.Background())
	require.ErrorContains(t, err, "none of the 2 pictures can be read")
	_, err = Open([]string{t.TempDir()}, Options{ImageSize: size})
	require.ErrorContains(t, err, "no pictures under")
	_, err = Open([]string{dir}, Options{})
	require.ErrorContains(t, err, "image size")
}

// Large pictures are scaled down once, by Pillow's arithmetic; small ones are left alone.
func TestPrepare(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a.png", draw(t, 1, 100, 61))
	put(t, dir, "b.png", draw(t, 2, 90, 16))
	s := open(t, Options{}, dir)
	a, err := s.Picture(0)
	require.NoError(t, err)
	require.Equal(t, [2]int{26, 16}, [2]int{a.W, a.H}) // 100 * 16/61 = 26.2
	whole, err := pixels.Load(s.Paths()[0], pixels.Limits{})
	require.NoError(t, err)
	var want pixels.Image
	new(pixels.Resizer).Resize(&want, whole, whole.Bounds(), 26, 16, pixels.Bilinear)
	require.Equal(t, want, a)
	b, err := s.Picture(1)
	require.NoError(t, err)
	require.Equal(t, [2]int{90, 16}, [2]int{b.W, b.H})
}

func TestCacheBudget(t *testing.T) {
	s := open(t, Options{}, folder(t, 12))
	_, err := s.Picture(0)
	require.NoError(t, err)
	require.Nil(t, s.kept[0].Load(), "no budget, no cache")
	s.Cache(4000)
	bytes := 0
	for i := range s.Len() {
		_, err := s.Picture(i)
		require.NoError(t, err)
		if img := s.kept[i].Load(); img != nil {
			bytes += len(img.Pix)
		}
	}
	require.LessOrEqual(t, bytes, 4000)
	require.Greater(t, bytes, 1000)
}

func TestCropBoxes(t *testing.T) {
	a := NewAugmenter(size, augment)
	const n = 20000
	var area, logAspect, left, right float64
	aspects := [2]int{}
	for i := range n {
		s := rng.New(1, rng.PurposeCrop, 0, uint64(i))
		b := a.box(&s, 400, 300)
		w, h := float64(b.X1-b.X0), float64(b.Y1-b.Y0)
		require.True(t, b.X0 >= 0 && b.Y0 >= 0 && b.X1 <= 400 && b.Y1 <= 300 && w >= 1 && h >= 1, "%v", b)
		share := w * h / (400 * 300)
		require.InDelta(t, 0.65, share, 0.36) // 0.3 to 1, and the rounding of edges
		require.InDelta(t, 0, math.Log(w/h), math.Log(4.0/3)+0.01)
		area += share / n
		logAspect += math.Log(w/h) / n
		left += float64(b.X0) / n
		right += (400 - float64(b.X1)) / n
		if w > h {
			aspects[0]++
		} else {
			aspects[1]++
		}
	}
	// Of the pairs (share s, aspect a) those fit for which s <= b = 0.75 a, so the mean share is the integral of
	// (b - 0.3)(b + 0.3)/2 db/b over that of (b - 0.3) db/b, b from 0.5625 to 1; likewise the mean of ln a = ln b + 0.2877.
	// Four standard errors are 0.005 each.
	require.InDelta(t, 0.5474, area, 0.005)
	require.InDelta(t, 0.0456, logAspect, 0.005)
	require.InDelta(t, left, right, 2, "no side is favoured")
	require.Greater(t, aspects[0], n/3)
	require.Greater(t, aspects[1], n/5)
}

// A picture in which no allowed crop fits gives the largest allowed one at its centre.
func TestCropFallback(t *testing.T) {
	a := NewAugmenter(size, AugmentOptions{CropScale: [2]float64{1, 1}})
	s := rng.New(1, rng.PurposeCrop, 0, 0)
	require.Equal(t, pixels.Box{X0: 43, Y0: 0, X1: 56, Y1: 10}, a.box(&s, 100, 10)) // 10 * 4/3 = 13.3
	require.Equal(t, pixels.Box{X0: 0, Y0: 43, X1: 10, Y1: 56}, a.box(&s, 10, 100))
	require.Equal(t, pixels.Box{X1: 1, Y1: 1}, a.box(&s, 1, 1))
	require.Equal(t, pixels.Box{X0: 4999, Y0: 0, X1: 5000, Y1: 1}, a.box(&s, 10000, 1))
}

func TestFlip(t *testing.T) {
	src := pixels.NewImage(size, size)
	for i := range src.Pix {
		src.Pix[i] = uint8(i % (3 * size)) // brighter to the right
	}
	a := NewAugmenter(size, augment)
	dst := make([]float32, 3*size*size)
	flipped := 0
	const n = 2000
	for i := range uint64(n) {
		a.Augment(dst, src, 1, 0, i)
		if dst[0] > dst[size-1] {
			flipped++
		}
	}
	require.InDelta(t, n/2, flipped, 4*math.Sqrt(n)/2) // four standard deviations
	odd := pixels.Image{W: 3, H: 1, Pix: []uint8{1, 2, 3, 4, 5, 6, 7, 8, 9}}
	mirror(odd)
	require.Equal(t, []uint8{7, 8, 9, 4, 5, 6, 1, 2, 3}, odd.Pix)
}

func TestCloseLeavesNothing(t *testing.T) {
	s := open(t, Options{}, folder(t, 6))
	before := runtime.NumGoroutine()
	for calls := range 4 {
		l := NewLoader(s, LoaderOptions{Batch: 2, Workers: 5, Augment: augment})
		for range calls {
			_, err := l.Next(context.Background())
			require.NoError(t, err)
		}
		l.Close()
		l.Close()
		_, err := l.Next(context.Background())
		require.ErrorIs(t, err, errClosed)
	}
	for i := 0; i < 100 && runtime.NumGoroutine() > before; i++ {
		time.Sleep(time.Millisecond) // a goroutine that has said it is done may still be on its way out
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}

func TestNextEndsWithContext(t *testing.T) {
	s := open(t, Options{}, folder(t, 4))
	l := NewLoader(s, LoaderOptions{Batch: 2, Workers: 1, Augment: augment})
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	steps := map[int]bool{}
	for len(steps) < 4 { // a call that fails loses no batch
		b, err := l.Next(ctx)
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			b, err = l.Next(context.Background())
			require.NoError(t, err)
		}
		require.Equal(t, len(steps), b.Step)
		steps[b.Step] = true
	}
}

func TestNextAllocatesNothing(t *testing.T) {
	s := open(t, Options{}, folder(t, 8))
	s.Cache(1 << 20)
	l := NewLoader(s, LoaderOptions{Batch: 4, Workers: 2, Augment: augment})
	defer l.Close()
	next := func() {
		if _, err := l.Next(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	for range 40 { // all pictures are in memory, and the buffers have met the largest crop
		next()
	}
	// The average is rounded down: a crop larger than any before may grow a buffer.
	require.Zero(t, testing.AllocsPerRun(200, next))
}

func BenchmarkAugment(b *testing.B) {
	for _, c := range [][3]int{{32, 32, 32}, {500, 375, 224}, {597, 448, 224}} {
		b.Run(fmt.Sprintf("%dx%d_to_%d", c[0], c[1], c[2]), func(b *testing.B) {
			img, err := pixels.Decode(draw(b, 1, c[0], c[1]), pixels.Limits{})
			require.NoError(b, err)
			a := NewAugmenter(c[2], augment)
			dst := make([]float32, 3*c[2]*c[2])
			for i := range uint64(b.N) {
				a.Augment(dst, img, 1, 0, i)
			}
		})
	}
}
