// Pictures draws a folder of large JPEGs, the same bytes on every machine with the same Go release: clouds of several
// sizes, discs with sharp edges, and grain, in integers.
//
//	pictures [-n 16] [-width 4000] [-height 3000] OUT
//
// Go writes baseline JPEGs with chroma at half the resolution (4:2:0), as cameras do. At quality 90 and 12 megapixels a
// file has 3 to 4 MB.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"runtime"
	"sync"
)

var (
	count   = flag.Int("n", 16, "pictures")
	width   = flag.Int("width", 4000, "pixels")
	height  = flag.Int("height", 3000, "pixels")
	quality = flag.Int("quality", 90, "of the JPEGs")
)

func main() {
	flag.Parse()
	if err := run(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("one folder, not %d: see -help", len(args))
	}
	if err := os.MkdirAll(args[0], 0o777); err != nil {
		return err
	}
	errs := make([]error, *count)
	var busy sync.WaitGroup
	turn := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range errs {
		busy.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			errs[i] = write(filepath.Join(args[0], fmt.Sprintf("picture-%02d.jpg", i)), uint32(i))
		})
	}
	busy.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func write(path string, seed uint32) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	if err := jpeg.Encode(w, draw(seed, *width, *height), &jpeg.Options{Quality: *quality}); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// draw is picture number seed.
func draw(seed uint32, w, h int) *image.YCbCr {
	m := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	m.Y = plane(m.Y, m.YStride, seed*3, 10, 5, 15)
	m.Cb = plane(m.Cb, m.CStride, seed*3+1, 9, 5, 3)
	m.Cr = plane(m.Cr, m.CStride, seed*3+2, 9, 5, 3)
	for i := range uint32(12) {
		at := func(what uint32) int { return int(hash(seed, 1000+i, what)) }
		disc(m, at(0)%w, at(1)%h, h/20+at(2)%(h/8), uint8(at(3)), uint8(at(4)), uint8(at(5)))
	}
	return m
}

// plane fills a plane with value noise: lattices of random bytes 2^scale samples apart, interpolated, each lattice half as
// wide and 5/8 as strong as the one before, down to 2^last; and with grain of up to ±grain/2.
func plane(pix []uint8, stride int, seed, first, last uint32, grain int32) []uint8 {
	type lattice struct{ scale, weight uint32 }
	var lattices []lattice
	total := uint32(0)
	for s, weight := first, uint32(256); s >= last; s, weight = s-1, weight*5/8 {
		lattices = append(lattices, lattice{s, weight})
		total += weight
	}
	for i := range pix {
		x, y := uint32(i%stride), uint32(i/stride)
		sum := uint32(0)
		for _, l := range lattices {
			step, cx, cy := uint32(1)<<l.scale, x>>l.scale, y>>l.scale
			fx, fy := x&(step-1), y&(step-1)
			top := corner(seed, l.scale, cx, cy)*(step-fx) + corner(seed, l.scale, cx+1, cy)*fx
			bottom := corner(seed, l.scale, cx, cy+1)*(step-fx) + corner(seed, l.scale, cx+1, cy+1)*fx
			sum += l.weight * ((top>>l.scale*(step-fy) + bottom>>l.scale*fy) >> l.scale)
		}
		v := int32(sum / total)
		v += 2*(v-128) + int32(hash(seed, x, y)>>8)%grain - grain/2 // a mean of many is near 128: stretch it
		pix[i] = uint8(min(max(v, 0), 255))
	}
	return pix
}

// corner is the random byte of a lattice's point.
func corner(seed, scale, x, y uint32) uint32 { return hash(seed*16+scale, x, y) & 255 }

// hash mixes three numbers (the finaliser of MurmurHash3).
func hash(a, b, c uint32) uint32 {
	h := a*0x9e3779b1 ^ b*0x85ebca77 ^ c*0xc2b2ae3d
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return (h ^ h>>16) >> 1
}

// disc lays a disc half transparent over a picture.
func disc(m *image.YCbCr, cx, cy, radius int, y, cb, cr uint8) {
	inside := m.Rect.Intersect(image.Rect(cx-radius, cy-radius, cx+radius, cy+radius))
	for py := inside.Min.Y; py < inside.Max.Y; py++ {
		for px := inside.Min.X; px < inside.Max.X; px++ {
			if (px-cx)*(px-cx)+(py-cy)*(py-cy) > radius*radius {
				continue
			}
			luma := &m.Y[m.YOffset(px, py)]
			*luma = uint8((int(*luma) + int(y)) / 2)
			if px%2 == 0 && py%2 == 0 {
				at := m.COffset(px, py)
				m.Cb[at], m.Cr[at] = uint8((int(m.Cb[at])+int(cb))/2), uint8((int(m.Cr[at])+int(cr))/2)
			}
		}
	}
}
