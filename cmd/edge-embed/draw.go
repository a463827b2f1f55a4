package main

import (
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"unicode/utf8"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"edgejepa/vit/heads"
	"edgejepa/vit/pixels"
)

// sketch is what --draw adds to a picture.
type sketch struct {
	mask   *image.Paletted // of the picture's size: its colours are laid over it, but for black
	boxes  []frame
	legend []note // in a strip below
}

// note is words, with a colour unless that is nothing.
type note struct {
	colour color.RGBA
	text   string
}

// frame is a box in pixels of the picture, with a label.
type frame struct {
	heads.Box
	note
}

// distinct are colours that can be told apart, on pictures too.
var distinct = []color.RGBA{
	{230, 25, 75, 255}, {60, 180, 75, 255}, {0, 130, 200, 255}, {255, 225, 25, 255}, {245, 130, 48, 255}, {145, 30, 180, 255},
	{70, 240, 240, 255}, {240, 50, 230, 255}, {210, 245, 60, 255}, {250, 190, 212, 255}, {0, 128, 128, 255}, {220, 190, 255, 255},
	{170, 110, 40, 255}, {255, 250, 200, 255}, {128, 0, 0, 255}, {170, 255, 195, 255}, {128, 128, 0, 255}, {255, 215, 180, 255},
	{0, 0, 128, 255}, {128, 128, 128, 255},
}

// colour is that of a class.
func colour(class int) color.RGBA { return distinct[class%len(distinct)] }

// palette has a colour for each class; the background is black.
func palette(h heads.Config) (p color.Palette) {
	for k := range h.Classes {
		c := colour(k)
		if k == h.Background() {
			c = color.RGBA{A: 255}
		}
		p = append(p, c)
	}
	return p
}

// drawOn writes a picture with a sketch on it. The picture is decoded once more, whole: what went through the model has its
// size.
func (p *predictions) drawOn(path string, s size, on sketch) error {
	p.drawing <- struct{}{}
	defer func() { <-p.drawing }()
	img, err := pixels.Load(path, p.limits)
	if err != nil {
		return err
	}
	if (on.mask != nil || on.boxes != nil) && (img.W != s.w || img.H != s.h) {
		return &pixels.FileError{Path: path, Err: errors.New("it changed while it was read")}
	}
	m := sketched(img, on)
	return writeBelow(below(p.o.draw, path, "."+p.o.drawFormat), path, func(w io.Writer) error {
		if p.o.drawFormat == "jpg" {
			return jpeg.Encode(w, m, &jpeg.Options{Quality: 90})
		}
		return (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(w, m)
	})
}

// Sizes of drawings, in pixels.
const (
	leastSide  = 224  // a smaller picture is enlarged, if it stays within
	mostSide   = 1024 // this
	sidePerDot = 512  // of a picture for each pixel that a dot of the letters is wide
)

// sketched is a picture with a sketch on it.
func sketched(img pixels.Image, on sketch) *image.RGBA {
	zoom := 1
	for zoom*min(img.W, img.H) < leastSide && (zoom+1)*max(img.W, img.H) <= mostSide {
		zoom++
	}
	w, h := zoom*img.W, zoom*img.H
	pen := pen{dot: max(1, min(w, h)/sidePerDot)}
	strip := pen.lay(on.legend, w)
	pen.RGBA = image.NewRGBA(image.Rect(0, 0, w, h+strip))
	for y := range h {
		row := pen.Pix[y*pen.Stride:]
		for x := range w {
			at := y/zoom*img.W + x/zoom
			rgb := [3]uint8(img.Pix[3*at:])
			if on.mask != nil {
				if c := on.mask.Palette[on.mask.Pix[at]].(color.RGBA); c.R|c.G|c.B != 0 {
					rgb = [3]uint8{mean(rgb[0], c.R), mean(rgb[1], c.G), mean(rgb[2], c.B)}
				}
			}
			row[4*x], row[4*x+1], row[4*x+2], row[4*x+3] = rgb[0], rgb[1], rgb[2], 255
		}
	}
	picture := image.Rect(0, 0, w, h)
	for i := range on.boxes { // the likeliest on top
		pen.frame(on.boxes[len(on.boxes)-1-i], zoom, picture)
	}
	draw.Draw(pen, image.Rect(0, h, w, h+strip), image.White, image.Point{}, draw.Src)
	for _, n := range pen.placed {
		pen.note(n.note, n.at.Add(image.Pt(0, h)))
	}
	return pen.RGBA
}

func mean(a, b uint8) uint8 { return uint8((int(a) + int(b)) / 2) }

// pen draws on a canvas with letters whose dots are squares of some pixels.
type pen struct {
	*image.RGBA
	dot    int
	placed []placed
}

// placed is a note and its upper left corner.
type placed struct {
	note
	at image.Point
}

// Dots of the letters and what is around them.
const (
	letterWidth  = 7
	letterHeight = 13
	swatch       = 10 // a square of a note's colour
	gap          = 3
)

// width is that of a note, in pixels.
func (p *pen) width(n note) int {
	w := letterWidth * utf8.RuneCountInString(n.text)
	if n.colour != (color.RGBA{}) {
		w += swatch + gap
	}
	return w * p.dot
}

// lay places notes in lines of that width and returns the height of all.
func (p *pen) lay(notes []note, width int) (height int) {
	x, y, line := gap*p.dot, gap*p.dot, (letterHeight+gap)*p.dot
	for _, n := range notes {
		if w := p.width(n); x > gap*p.dot && x+w > width {
			x, y = gap*p.dot, y+line
		}
		p.placed = append(p.placed, placed{n, image.Pt(x, y)})
		x += p.width(n) + 3*gap*p.dot
	}
	if len(notes) == 0 {
		return 0
	}
	return y + line
}

// note writes a note in black on what is there.
func (p *pen) note(n note, at image.Point) {
	if n.colour != (color.RGBA{}) {
		side := swatch * p.dot
		p.fill(image.Rect(at.X, at.Y+p.dot, at.X+side, at.Y+p.dot+side), n.colour)
		at.X += side + gap*p.dot
	}
	p.text(n.text, at, color.RGBA{A: 255})
}

func (p *pen) fill(r image.Rectangle, c color.RGBA) {
	draw.Draw(p, r, image.NewUniform(c), image.Point{}, draw.Src)
}

// text writes a line with its upper left corner at a place. What has no letter, the font shows as a sign for that.
func (p *pen) text(s string, at image.Point, c color.RGBA) {
	letters := image.NewAlpha(image.Rect(0, 0, letterWidth*utf8.RuneCountInString(s), letterHeight))
	d := font.Drawer{Dst: letters, Src: image.Opaque, Face: basicfont.Face7x13, Dot: fixed.P(0, basicfont.Face7x13.Ascent)}
	d.DrawString(s)
	for i, v := range letters.Pix {
		if v != 0 {
			x, y := at.X+i%letters.Stride*p.dot, at.Y+i/letters.Stride*p.dot
			p.fill(image.Rect(x, y, x+p.dot, y+p.dot), c)
		}
	}
}

// frame draws a box and its label, which stands above it where there is room, inside the picture.
func (p *pen) frame(f frame, zoom int, picture image.Rectangle) {
	at := func(v float64) int { return int(math.Floor(float64(v*float64(zoom)) + 0.5)) }
	r := image.Rect(at(f.X0), at(f.Y0), at(f.X1), at(f.Y1)).Intersect(picture)
	line := p.dot
	if min(r.Dx(), r.Dy()) > 8*p.dot {
		line = 2 * p.dot
	}
	for _, side := range []image.Rectangle{
		image.Rect(r.Min.X, r.Min.Y, r.Max.X, r.Min.Y+line), image.Rect(r.Min.X, r.Max.Y-line, r.Max.X, r.Max.Y),
		image.Rect(r.Min.X, r.Min.Y, r.Min.X+line, r.Max.Y), image.Rect(r.Max.X-line, r.Min.Y, r.Max.X, r.Max.Y),
	} {
		p.fill(side.Intersect(picture), f.colour)
	}
	w, h := (letterWidth*utf8.RuneCountInString(f.text)+2)*p.dot, letterHeight*p.dot
	x, y := max(min(r.Min.X, picture.Max.X-w), 0), r.Min.Y-h
	if y < 0 {
		y = r.Min.Y + line
	}
	p.fill(image.Rect(x, y, x+w, y+h).Intersect(picture), f.colour)
	ink := color.RGBA{A: 255}
	if 2*int(f.colour.R)+5*int(f.colour.G)+int(f.colour.B) < 8*110 {
		ink = color.RGBA{255, 255, 255, 255}
	}
	p.text(f.text, image.Pt(x+p.dot, y), ink)
}
