package demoset

import (
	"image"
	"math"

	"edgejepa/fp"
	"edgejepa/internal/rng"
)

// colour is red, green, blue in 0..255, with 8 bits of fraction.
type colour [3]int32

// one is full strength or opacity.
const one = 256

// light is the colour's brightness, 0..255 (ITU-R BT.601 weights).
func (c colour) light() int { return int(77*c[0]+150*c[1]+29*c[2]) >> 16 }

// mix is c with a share t/one of d.
func (c colour) mix(d colour, t int32) colour {
	for k := range c {
		c[k] += (d[k] - c[k]) * t / one
	}
	return c
}

// scaled is c lit t/one times.
func (c colour) scaled(t int32) colour {
	for k := range c {
		c[k] = c[k] * t / one
	}
	return c
}

func randomColour(r *rng.Source) colour {
	var c colour
	for k := range c {
		c[k] = int32(r.IntN(256 * one))
	}
	// Towards grey: few things are as gaudy as uniform red, green and blue.
	grey := int32(c.light() * one)
	return c.mix(colour{grey, grey, grey}, int32(one/2+r.IntN(one/2)))
}

// anchored is c drawn half way to a light or a dark grey, whichever is nearer: figures differ in hue more than in light.
func (c colour) anchored() colour {
	grey := int32(50 * one)
	if c.light() > 127 {
		grey = 205 * one
	}
	return c.mix(colour{grey, grey, grey}, one/2)
}

// apart is a random colour whose brightness differs by at least gap from both others'.
func apart(r *rng.Source, gap int, from ...colour) colour {
	for {
		c := randomColour(r)
		far := true
		for _, f := range from {
			d := c.light() - f.light()
			far = far && max(d, -d) >= gap
		}
		if far {
			return c
		}
		gap -= gap / 16 // any gap is met in the end
	}
}

// pose is where a figure is, how large, and how it is turned and stretched.
type pose struct {
	x, y, radius, stretch float64 // pixels, pixels, pixels, one axis over the other
	cos, sin              float64
}

func newPose(r *rng.Source, x, y, radius, stretch float64) pose {
	angle := float64(2 * math.Pi * r.Float64())
	return pose{x, y, radius, stretch, fp.Cos(angle), fp.Sin(angle)}
}

// at is a pixel position in the figure's coordinates.
func (p pose) at(x, y float64) (u, v float64) {
	x, y = (x-p.x)/p.radius, (y-p.y)/p.radius
	u = float64(p.cos*x) + float64(p.sin*y)
	v = float64(p.cos*y) - float64(p.sin*x)
	return u * p.stretch, v / p.stretch
}

type canvas struct {
	size int
	px   []colour // [size, size]
}

// grid is the number of samples across a pixel, for edges without steps.
const grid = 3

// draw lays a figure over the canvas. shade gives its two colours at a pixel; opacity is of one.
func (c *canvas) draw(f figure, p pose, opacity int32, shade func(x, y int) [2]colour) {
	reach := float64(p.radius*max(p.stretch, 1/p.stretch)) + 1
	x0, x1 := c.clip(p.x-reach), c.clip(p.x+reach+1)
	y0, y1 := c.clip(p.y-reach), c.clip(p.y+reach+1)
	for y := y0; y < y1; y++ {
		for x := x0; x < x1; x++ {
			var count [3]int32
			for j := range grid {
				for i := range grid {
					u, v := p.at(float64(x)+(float64(i)+0.5)/grid, float64(y)+(float64(j)+0.5)/grid)
					count[f(u, v)]++
				}
			}
			if count[first]+count[second] == 0 {
				continue
			}
			ink := shade(x, y)
			to := &c.px[y*c.size+x]
			under := *to
			for k := range to {
				sum := count[first]*(ink[0][k]-under[k]) + count[second]*(ink[1][k]-under[k])
				to[k] = under[k] + sum*opacity/(grid*grid*one)
			}
		}
	}
}

func (c *canvas) clip(v float64) int { return int(math.Floor(min(max(v, 0), float64(c.size)))) }

// picture rounds to bytes, with sensor noise of up to ±noise.
func (c *canvas) picture(r *rng.Source, noise int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, c.size, c.size))
	for i, p := range c.px {
		for k, v := range p {
			n := r.IntN(2*noise+1) + r.IntN(2*noise+1) - 2*noise // triangular
			m.Pix[4*i+k] = uint8(min(max(int(v+one/2)/one+n/2, 0), 255))
		}
		m.Pix[4*i+3] = 255
	}
	return m
}
