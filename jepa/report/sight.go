package report

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"slices"

	"edgejepa/vit"
	"edgejepa/vit/pixels"
)

// Sight is what an encoder makes of a sample of pictures.
type Sight struct {
	Step  int
	Names []string // of the n pictures
	Sheet []byte   // a JPEG with all of them, in rows of sheetColumns, Tile pixels a side
	Tile  int
	Grid  int // side of the square of patches

	Examples    []Example
	Near        []Neighbours
	Tokens      []TokenColours
	Map         []float64 // [n, 2] in the unit square
	Consistency float64   // percent of pictures to one crop of which another crop of the same is the nearest
}

// Example is a picture as a training step sees it: one view with patches hidden, or two views.
type Example struct {
	Name        string
	View, Other []byte  // JPEG; Other is empty where patches are hidden
	Context     []int32 // patches that the context encoder sees
	Targets     [][]int32
}

// Neighbours are the pictures whose features are nearest to a picture's, the nearest first.
type Neighbours struct {
	Query  int
	Index  []int
	Cosine []float64
}

// TokenColours is a picture beside its tokens, coloured by their three principal components.
type TokenColours struct {
	Name             string
	Picture, Colours []byte // JPEG; PNG of a pixel a patch
}

// sheetColumns is how many tiles a row of a sheet has.
const sheetColumns = 16

// tileSize is the side of a tile, a multiple of the 16 pixels that JPEG codes together so that tiles do not bleed.
func tileSize(c vit.Config) int { return min(max((c.ImageSize+15)/16*16, 16), 64) }

// shownSize is the side of a picture that is shown by itself.
func shownSize(c vit.Config) int { return min(c.ImageSize, 160) }

// draw makes what does not depend on the encoder: the sheet, the pictures, the masks.
func (s *Sample) draw() {
	o, n := s.options, len(s.names)
	s.tile = tileSize(o.Config.Encoder)
	sheet := image.NewRGBA(image.Rect(0, 0, sheetColumns*s.tile, (n+sheetColumns-1)/sheetColumns*s.tile))
	var small pixels.Image
	var r pixels.Resizer
	for i := range n {
		pixels.CenterCrop(&small, &r, s.picture(s.crops, i), s.tile, s.tile)
		paint(sheet, small, i%sheetColumns*s.tile, i/sheetColumns*s.tile)
	}
	s.sheet = encodeJPEG(sheet)
	for _, i := range s.shown(tokenPictures) {
		s.pictures = append(s.pictures, encoded(s.picture(s.crops, i), o.Config.Encoder))
	}
	examples := s.shown(examplePictures)
	m, targets := o.Config.DrawMasks(0, len(examples))
	for k, i := range examples {
		e := Example{Name: s.names[i], View: encoded(s.picture(s.views, i), o.Config.Encoder)}
		if targets == 0 {
			e.Other = encoded(s.picture(s.crops, i), o.Config.Encoder)
		} else {
			e.Context = slices.Clone(m.Context[m.ContextOff[k]:m.ContextOff[k+1]])
		}
		for t := range targets {
			e.Targets = append(e.Targets, slices.Clone(m.Targets[(k*targets+t)*m.TargetLen:][:m.TargetLen]))
		}
		s.examples = append(s.examples, e)
	}
}

// encoded is a picture as JPEG.
func encoded(p pixels.Image, c vit.Config) []byte {
	var small pixels.Image
	var r pixels.Resizer
	pixels.CenterCrop(&small, &r, p, shownSize(c), shownSize(c))
	out := image.NewRGBA(image.Rect(0, 0, small.W, small.H))
	paint(out, small, 0, 0)
	return encodeJPEG(out)
}

// paint copies a picture to a place of dst.
func paint(dst *image.RGBA, p pixels.Image, x0, y0 int) {
	for y := range p.H {
		out := dst.Pix[dst.PixOffset(x0, y0+y):]
		for x := range p.W {
			out[4*x], out[4*x+1], out[4*x+2] = p.At(x, y)
			out[4*x+3] = 0xff
		}
	}
}

func encodeJPEG(m image.Image) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 82}); err != nil {
		panic("report: a picture of this size always has a JPEG form")
	}
	return b.Bytes()
}

// look finds neighbours, the map and the consistency from features [n, dim] of the pictures and of their other views.
func (s *Sight) look(crops, views []float32, n, dim int) {
	x := make([]float64, n*dim)
	for i, v := range crops {
		x[i] = float64(v)
	}
	mean := centre(x, n, dim)
	_, start := principal(x, n, dim, 2)
	far := make([]float64, n*n)
	for i := range n {
		for j := range i {
			v := apart(x[i*dim:][:dim], x[j*dim:][:dim])
			far[i*n+j], far[j*n+i] = v, v
		}
	}
	s.Map = neighbourMap(far, start, n)

	unit(x, n, dim)
	cosine := make([]float64, n*n)
	for i := range n {
		for j := range i + 1 {
			v := dot(x[i*dim:][:dim], x[j*dim:][:dim])
			cosine[i*n+j], cosine[j*n+i] = v, v
		}
	}
	for q := range min(queries, n) {
		s.Near = append(s.Near, neighboursOf(cosine, (2*q+1)*n/(2*min(queries, n)), n))
	}

	hits := 0
	view := make([]float64, dim)
	for i := range n {
		for j := range view {
			view[j] = float64(views[i*dim+j]) - mean[j]
		}
		best, at := math.Inf(-1), 0
		for j := range n {
			if c := dot(view, x[j*dim:][:dim]); c > best {
				best, at = c, j
			}
		}
		if at == i {
			hits++
		}
	}
	s.Consistency = 100 * float64(hits) / float64(n)
}

// apart is the squared distance between a and b.
func apart(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		d := v - b[i]
		sum += float64(d * d)
	}
	return sum
}

// unit scales rows to unit length; a row of zeros stays.
func unit(x []float64, n, dim int) {
	for i := range n {
		row := x[i*dim:][:dim]
		inv := 1 / max(math.Sqrt(dot(row, row)), 1e-12)
		for j := range row {
			row[j] *= inv
		}
	}
}

func neighboursOf(cosine []float64, q, n int) Neighbours {
	order := make([]int, 0, n)
	for i := range n {
		if i != q {
			order = append(order, i)
		}
	}
	row := cosine[q*n:][:n]
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(row[b], row[a]) })
	near := Neighbours{Query: q, Index: order[:min(nearest, len(order))]}
	for _, i := range near.Index {
		near.Cosine = append(near.Cosine, row[i])
	}
	return near
}

// colour maps the three principal components of the tokens of all pictures together to red, green and blue. So like
// colours mean like content, in one picture and between two.
func (s *Sight) colour(tokens []float32, shown []int, pictures [][]byte, c vit.Config) {
	rows, grid := len(tokens)/c.Dim, c.Grid()
	x := make([]float64, len(tokens))
	for i, v := range tokens {
		x[i] = float64(v)
	}
	centre(x, rows, c.Dim)
	_, y := principal(x, rows, c.Dim, 3)
	var lo, hi [3]float64
	sorted := make([]float64, rows)
	for k := range 3 {
		for r := range rows {
			sorted[r] = y[3*r+k]
		}
		slices.Sort(sorted)
		lo[k], hi[k] = sorted[rows/50], sorted[rows-1-rows/50]
	}
	for i, picture := range pictures {
		m := image.NewRGBA(image.Rect(0, 0, grid, grid))
		for t := range grid * grid {
			var rgb [3]uint8
			for k := range rgb {
				v := 0.5
				if hi[k] > lo[k] {
					v = min(max((y[3*(i*grid*grid+t)+k]-lo[k])/(hi[k]-lo[k]), 0), 1)
				}
				rgb[k] = uint8(math.RoundToEven(v * 255))
			}
			m.SetRGBA(t%grid, t/grid, color.RGBA{rgb[0], rgb[1], rgb[2], 0xff})
		}
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			panic("report: a picture of this size always has a PNG form")
		}
		s.Tokens = append(s.Tokens, TokenColours{Name: s.Names[shown[i]], Picture: picture, Colours: b.Bytes()})
	}
}
