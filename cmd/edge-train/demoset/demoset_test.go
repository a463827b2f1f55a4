package demoset

import (
	"crypto/sha256"
	"encoding/hex"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/rng"
)

// The pixels belong to the seed on every machine. They are hashed before JPEG, whose encoder changes with Go.
func TestGoldenPixels(t *testing.T) {
	h := sha256.New()
	for _, set := range []struct{ size, n int }{{16, 12}, {48, 6}, {101, 1}} {
		for c := range classes {
			for i := range set.n {
				h.Write(render(c, i, Options{Size: set.size, Seed: 7}).Pix)
			}
		}
	}
	require.Equal(t, goldenPixels, hex.EncodeToString(h.Sum(nil)))
}

const goldenPixels = "d0eed995c891146c45428cebabc0a3ae5572b43d0ac3a1c601cf798512eedc68"

func TestWrite(t *testing.T) {
	a, b, other := t.TempDir(), t.TempDir(), t.TempDir()
	require.NoError(t, Write(a, Options{PerClass: 3, Size: 24, Seed: 5}))
	require.NoError(t, Write(a, Options{PerClass: 3, Size: 24, Seed: 5}), "over an earlier set")
	require.NoError(t, Write(b, Options{PerClass: 2, Size: 24, Seed: 5}))
	require.NoError(t, Write(other, Options{PerClass: 2, Size: 24, Seed: 6}))

	names := Classes()
	require.True(t, slices.IsSorted(names))
	folders, err := os.ReadDir(a)
	require.NoError(t, err)
	require.Len(t, folders, len(names))
	for c, name := range names {
		files, err := filepath.Glob(filepath.Join(a, name, "*"))
		require.NoError(t, err)
		require.Len(t, files, 3, name)
		for i := range 2 {
			file := filepath.Join(name, []string{"0000.jpg", "0001.jpg"}[i])
			text, err := os.ReadFile(filepath.Join(a, file))
			require.NoError(t, err)
			again, err := os.ReadFile(filepath.Join(b, file))
			require.NoError(t, err)
			require.Equal(t, text, again, "a longer set begins like a shorter one")
			seed6, err := os.ReadFile(filepath.Join(other, file))
			require.NoError(t, err)
			require.NotEqual(t, text, seed6)

			f, err := os.Open(filepath.Join(a, file))
			require.NoError(t, err)
			m, err := jpeg.Decode(f)
			require.NoError(t, f.Close())
			require.NoError(t, err)
			require.Equal(t, image.Rect(0, 0, 24, 24), m.Bounds())
			// JPEG at quality 92 halves the colour's resolution but keeps brightness: far less than noise would.
			require.Less(t, brightnessError(m, render(c, i, Options{Size: 24, Seed: 5})), 8.0)
			require.Greater(t, brightnessError(m, render(c, i+5, Options{Size: 24, Seed: 5})), 8.0, "control")
		}
	}
}

// brightnessError is the root mean square difference.
func brightnessError(a, b image.Image) float64 {
	sum, n := 0.0, a.Bounds().Dx()*a.Bounds().Dy()
	for i := range n {
		x, y := i%a.Bounds().Dx(), i/a.Bounds().Dx()
		d := float64(color.GrayModel.Convert(a.At(x, y)).(color.Gray).Y) - float64(color.GrayModel.Convert(b.At(x, y)).(color.Gray).Y)
		sum += d * d / float64(n)
	}
	return math.Sqrt(sum)
}

func TestWriteRefuses(t *testing.T) {
	for _, o := range []Options{{PerClass: -1}, {PerClass: 10000}, {Size: 15}, {Size: 1025}} {
		require.ErrorContains(t, Write(t.TempDir(), o), "use 1 to 9999 pictures and 16 to 1024 pixels")
	}
	file := filepath.Join(t.TempDir(), "taken")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorContains(t, Write(file, Options{PerClass: 1, Size: 16}), "taken")
}

// A class must not show in the mean colour, which raw pixels would give away: the classes' means differ by no more than
// 5 standard errors from one another.
func TestColourTellsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("1,500 pictures")
	}
	const n = 150
	var mean, dev [10][3]float64
	for c := range classes {
		for i := range n {
			m := render(c, i, Options{Size: 16, Seed: 3})
			for k := range 3 {
				sum := 0.0
				for p := k; p < len(m.Pix); p += 4 {
					sum += float64(m.Pix[p]) / 256
				}
				mean[c][k] += sum / n
				dev[c][k] += sum * sum / n
			}
		}
	}
	for c := range classes {
		for k := range 3 {
			stderr := math.Sqrt((dev[c][k] - mean[c][k]*mean[c][k]) / n)
			require.InDelta(t, mean[0][k], mean[c][k], 5*math.Sqrt2*stderr, classes[c].name)
		}
	}
}

// Every figure covers a fair part of its circle and stays within it, for any draw.
func TestFiguresFillTheirCircle(t *testing.T) {
	for _, class := range classes {
		for i := range 15 {
			r := rng.New(1, rng.PurposeDemo, 9, uint64(i))
			f := class.vary(&r)
			inside, total := 0, 0
			for y := -1.5; y <= 1.5; y += 1.0 / 32 {
				for x := -1.5; x <= 1.5; x += 1.0 / 32 {
					seen := f(x, y) != nothing
					require.False(t, seen && norm2(x, y) > 1.04*1.04, "%s outside at %g, %g", class.name, x, y)
					if norm2(x, y) < 1 {
						total++
						if seen {
							inside++
						}
					}
				}
			}
			share := float64(inside) / float64(total)
			require.True(t, share > 0.2 && share < 0.8, "%s covers %.2f", class.name, share)
		}
	}
}

// A contact sheet for the eye: EDGEJEPA_DEMO_SHEET names the PNG to write.
func TestContactSheet(t *testing.T) {
	file := os.Getenv("EDGEJEPA_DEMO_SHEET")
	if file == "" {
		t.Skip("EDGEJEPA_DEMO_SHEET names no file to write")
	}
	const size, across, down = 48, 20, 2
	sheet := image.NewRGBA(image.Rect(0, 0, across*(size+2), len(classes)*down*(size+2)))
	for c := range classes {
		for i := range across * down {
			at := image.Pt(i%across*(size+2), (c*down+i/across)*(size+2))
			draw.Draw(sheet, image.Rectangle{at, at.Add(image.Pt(size, size))}, render(c, i, Options{Size: size, Seed: 1}), image.Point{}, draw.Src)
		}
	}
	f, err := os.Create(file)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, sheet))
	require.NoError(t, f.Close())
}
