// Plain is the pipeline from a folder of pictures to vectors that one writes with what Go has at hand: image.Decode,
// golang.org/x/image/draw, one float32 picture after another through the network. It is what edge-embed is measured
// against.
//
//	plain -model encoder.safetensors [-network fast|gonum|loops] [-scaler catmullrom|bilinear] [-threads 1] PATH... > vectors.f32
//
// The network is this project's own float32 encoder, the hardest to beat; -network gonum is one with the matrix products
// of gonum, and -network loops one with nested loops. The rows are little-endian float32, scaled to length 1, in the order
// of the names; EXIF orientation is ignored.
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"image"
	_ "image/gif"
	_ "image/jpeg"
	_ "image/png"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/image/draw"

	"edgejepa/internal/parallel"
	"edgejepa/internal/safetensors"
	"edgejepa/vit"
)

var (
	model   = flag.String("model", "", "encoder.safetensors of a run, or a float32 export")
	network = flag.String("network", "fast", "fast, gonum or loops")
	scaler  = flag.String("scaler", "catmullrom", "catmullrom or bilinear (draw.BiLinear)")
	threads = flag.Int("threads", 1, "pictures in work at a time")
)

func main() {
	flag.Parse()
	if err := run(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "plain:", err)
		os.Exit(1)
	}
}

// products are the networks to choose from: nil is vit.Encoder.
var products = map[string]func(y, x []float32, l *vit.Linear, rows int){"fast": nil, "gonum": gonum, "loops": loops}

func run(roots []string) error {
	interpolator, known := map[string]draw.Interpolator{"catmullrom": draw.CatmullRom, "bilinear": draw.BiLinear}[*scaler]
	if _, ok := products[*network]; !ok || !known || *threads < 1 {
		return fmt.Errorf("-scaler %s -network %s -threads %d: see -help", *scaler, *network, *threads)
	}
	runtime.GOMAXPROCS(*threads)
	file, err := safetensors.Open(*model)
	if err != nil {
		return err
	}
	e, err := vit.LoadEncoder(file, vit.ContextPrefix)
	if err != nil {
		return err
	}
	paths, err := files(roots)
	if err != nil {
		return err
	}
	rows := make([][]float32, len(paths))
	next := make(chan int)
	var workers sync.WaitGroup
	for range *threads {
		workers.Go(func() {
			embed := e.NewPass(parallel.New(1), 1).Embed
			if linear := products[*network]; linear != nil {
				n := newNaive(e, linear)
				embed = func(dst, px []float32, _ int) { n.Embed(dst, px) }
			}
			px := make([]float32, e.Config.PixelLen())
			for i := range next {
				if err := load(px, paths[i], &e.Config, interpolator); err != nil {
					fmt.Fprintf(os.Stderr, "skipping %s: %v\n", paths[i], err)
					continue
				}
				rows[i] = make([]float32, e.Config.Dim)
				embed(rows[i], px, 1)
				unit(rows[i])
			}
		})
	}
	for i := range paths {
		next <- i
	}
	close(next)
	workers.Wait()
	out := bufio.NewWriter(os.Stdout)
	for _, row := range rows {
		if err := binary.Write(out, binary.LittleEndian, row); err != nil {
			return err
		}
	}
	return out.Flush()
}

// files lists the regular files below the roots in the order of their names.
func files(roots []string) (paths []string, err error) {
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				paths = append(paths, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// load fills px [3, S, S] with the square in the middle of a picture, scaled and normalised.
func load(px []float32, path string, c *vit.Config, interpolator draw.Interpolator) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	m, _, err := image.Decode(bufio.NewReader(f))
	if err != nil {
		return err
	}
	b, s := m.Bounds(), c.ImageSize
	side := min(b.Dx(), b.Dy())
	corner := b.Min.Add(image.Pt((b.Dx()-side)/2, (b.Dy()-side)/2))
	small := image.NewRGBA(image.Rect(0, 0, s, s))
	interpolator.Scale(small, small.Bounds(), m, image.Rectangle{Min: corner, Max: corner.Add(image.Pt(side, side))}, draw.Src, nil)
	for i := range s * s {
		for ch := range 3 {
			px[ch*s*s+i] = (float32(small.Pix[4*i+ch])/255 - c.Mean[ch]) / c.Std[ch]
		}
	}
	return nil
}

// unit scales a vector to length 1.
func unit(v []float32) {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(sum))
	}
}
