// Package demoset draws a labelled picture set, for trying the programs without one: ten classes of figures told apart by
// outline or pattern, under random colours, places, sizes, turns, backgrounds, clutter, shadows, light and noise. Pixels
// say little about the class, structure does.
//
// A picture is a function of seed, class and number: integers and separately rounded float64 make its pixels the same on
// every machine.
package demoset

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"

	"edgejepa/internal/rng"
)

// Options say what to draw. The zero value is the default set.
type Options struct {
	PerClass int // pictures a class; 0: 250
	Size     int // pixels a side; 0: 48
	Seed     uint64
}

const quality = 92 // JPEG

func (o *Options) setDefaults() error {
	if o.PerClass == 0 {
		o.PerClass = 250
	}
	if o.Size == 0 {
		o.Size = 48
	}
	if o.PerClass < 1 || o.PerClass > 9999 || o.Size < 16 || o.Size > 1024 {
		return fmt.Errorf("demo set: %d pictures a class of %d pixels: use 1 to 9999 pictures and 16 to 1024 pixels", o.PerClass, o.Size)
	}
	return nil
}

// Classes are the names of the classes, which are the folders that Write makes.
func Classes() []string {
	names := make([]string, len(classes))
	for i, c := range classes {
		names[i] = c.name
	}
	return names
}

// Write draws the set as dir/CLASS/NNNN.jpg, making folders as needed and replacing pictures of these names.
func Write(dir string, o Options) error {
	if err := o.setDefaults(); err != nil {
		return err
	}
	var buf bytes.Buffer
	for c, class := range classes {
		folder := filepath.Join(dir, class.name)
		if err := os.MkdirAll(folder, 0o777); err != nil {
			return fmt.Errorf("demo set: %w", err)
		}
		for i := range o.PerClass {
			buf.Reset()
			if err := jpeg.Encode(&buf, render(c, i, o), &jpeg.Options{Quality: quality}); err != nil {
				return fmt.Errorf("demo set: %w", err)
			}
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%04d.jpg", i)), buf.Bytes(), 0o666); err != nil {
				return fmt.Errorf("demo set: %w", err)
			}
		}
	}
	return nil
}

// render is picture i of a class: background, clutter, the figure's shadow, the figure, noise.
func render(class, i int, o Options) *image.RGBA {
	src := rng.New(o.Seed, rng.PurposeDemo, uint64(class), uint64(i))
	r := &src
	size := float64(o.Size)
	c := &canvas{o.Size, make([]colour, o.Size*o.Size)}

	// Grounds keep to the middle, so that a figure may be lighter or darker.
	ground := randomColour(r).mix(colour{128 * one, 128 * one, 128 * one}, one*5/8)
	other := randomColour(r).mix(ground, one*3/4)
	c.background(r, ground, other)
	for range r.IntN(7) {
		c.clutter(r, ground)
	}

	f := classes[class].vary(r)
	middle := func() float64 { return size * between(r, 0.34, 0.66) }
	p := newPose(r, middle(), middle(), size*between(r, 0.28, 0.42), between(r, 0.85, 1.18))
	if r.IntN(2) == 0 {
		shadow := p
		shadow.x += float64(size * between(r, -0.06, 0.06))
		shadow.y += float64(size * between(r, 0.02, 0.07))
		c.draw(f, shadow, one/3, func(int, int) [2]colour { return [2]colour{} })
	}
	ink := apart(r, 80, ground, other).anchored()
	inks := [2]colour{ink, apart(r, 80, ink).anchored()}
	shade := ramp(r, o.Size, one*3/4, one*5/4)
	c.draw(f, p, one, func(x, y int) [2]colour {
		t := shade(x, y)
		return [2]colour{inks[0].scaled(t), inks[1].scaled(t)}
	})
	c.relight(r)
	return c.picture(r, r.IntN(5))
}

// background covers the canvas with one of four grounds between two colours.
func (c *canvas) background(r *rng.Source, a, b colour) {
	var share func(x, y int) int32 // of b
	switch r.IntN(4) {
	case 0: // flat
		share = func(int, int) int32 { return 0 }
	case 1:
		share = ramp(r, c.size, 0, one)
	case 2:
		share = valueNoise(r, c.size, 3+r.IntN(3))
	default:
		share = valueNoise(r, c.size, 8+r.IntN(8))
	}
	for y := range c.size {
		for x := range c.size {
			c.px[y*c.size+x] = a.mix(b, share(x, y))
		}
	}
}

// clutter adds one small thing that belongs to no class in particular.
func (c *canvas) clutter(r *rng.Source, ground colour) {
	size := float64(c.size)
	outline := []func(u, v float64) bool{disc, square, triangle, bar, lozenge}[r.IntN(5)]
	x, y := size*r.Float64(), size*r.Float64()
	p := newPose(r, x, y, size*between(r, 0.04, 0.11), between(r, 0.7, 1.4))
	ink := randomColour(r).mix(ground, one/4)
	c.draw(solid(outline), p, int32(one/2+r.IntN(one/2)), func(int, int) [2]colour { return [2]colour{ink} })
}

// relight makes the picture brighter towards one side, and brighter or darker as a whole.
func (c *canvas) relight(r *rng.Source) {
	whole := int32(one*9/10 + r.IntN(one/5))
	side := ramp(r, c.size, whole*7/8, whole*9/8)
	for y := range c.size {
		for x := range c.size {
			c.px[y*c.size+x] = c.px[y*c.size+x].scaled(side(x, y))
		}
	}
}

// ramp rises from lo to hi across the canvas in a random direction.
func ramp(r *rng.Source, size int, lo, hi int32) func(x, y int) int32 {
	dx, dy := r.IntN(65)-32, r.IntN(65)-32
	from := min(dx, 0)*size + min(dy, 0)*size
	span := max(1, (max(dx, -dx)+max(dy, -dy))*size)
	return func(x, y int) int32 { return lo + int32(int(hi-lo)*(dx*x+dy*y-from)/span) }
}

// valueNoise interpolates random values on a lattice of cells a side: soft clouds or grain.
func valueNoise(r *rng.Source, size, cells int) func(x, y int) int32 {
	lattice := make([]int, (cells+1)*(cells+1))
	for i := range lattice {
		lattice[i] = r.IntN(one + 1)
	}
	return func(x, y int) int32 {
		x, y = x*cells, y*cells
		at := lattice[y/size*(cells+1)+x/size:]
		fx, fy := x%size, y%size
		top := at[0]*(size-fx) + at[1]*fx
		bottom := at[cells+1]*(size-fx) + at[cells+2]*fx
		return int32((top*(size-fy) + bottom*fy) / (size * size))
	}
}
