package main

import (
	"math"

	"edgejepa/kernels/internal/coef"
)

// routines lists every vector routine. Each computes what its Go version in package kernels does, operation by
// operation, so that the bits are the same; what is a*b+c there is a mul and an add here.
func routines() []*kernel {
	var list []*kernel
	define := func(name, doc string, body func(k *kernel)) {
		k := &kernel{name: name, doc: doc}
		body(k)
		list = append(list, k)
	}

	define("addBlocks", "dst[i] += src[i]", func(k *kernel) {
		dst, src := k.slice("dst"), k.slice("src")
		k.n()
		k.store(dst, k.add("sum", k.load(dst), k.load(src)))
	})
	define("scaleBlocks", "x[i] *= s", func(k *kernel) {
		x := k.slice("x")
		k.n()
		s := k.scalar("s")
		k.store(x, k.mul("y", k.load(x), s))
	})
	define("lerpBlocks", "dst[i] = m*dst[i] + m1*src[i]", func(k *kernel) {
		dst, src := k.slice("dst"), k.slice("src")
		k.n()
		m, m1 := k.scalar("m"), k.scalar("m1")
		k.store(dst, k.lerp(k.load(dst), k.load(src), m, m1))
	})
	define("geluBlocks", "dst[i] = x[i]*Phi(x[i])", func(k *kernel) {
		dst, x := k.slice("dst"), k.slice("x")
		k.n()
		v := k.load(x)
		_, tail := k.normalTail(v)
		y := k.mul("y", k.abs(v), tail)
		k.store(dst, k.sub("y", k.max("relu", v, k.float("0", 0)), y))
	})
	define("geluGradBlocks", "dx[i] = dy[i]*(Phi(x[i]) + x[i]*phi(x[i]))", func(k *kernel) {
		dx, dy, x := k.slice("dx"), k.slice("dy"), k.slice("x")
		k.n()
		v := k.load(x)
		e, tail := k.normalTail(v)
		one := k.float("1", 1)
		positive := k.less("positive", k.float("0", 0), v)
		cdf := k.choose("cdf", positive, k.sub("upper", one, tail), tail)
		d := k.mul("phi", e, k.float("InvSqrt2Pi", coef.InvSqrt2Pi))
		d = k.add("d", cdf, k.mul("d", v, d))
		k.store(dx, k.mul("d", k.load(dy), d))
	})
	define("sumSquaresBlocks", "l[i%16] += float64(x[i])*float64(x[i])", func(k *kernel) {
		low, high := k.lanes64("l")
		x := k.slice("x")
		k.n()
		k.sumSquares(low, high, k.load(x))
	})

	define("addColumnSumsBlocks", "dst[j] += x[r*stride+j], rows ascending", func(k *kernel) {
		dst := k.lanes("dst")
		x := k.column("x")
		k.rows()
		k.eachColumnBlock()
		k.accumulate(dst, k.load(x))
	})
	define("addLayerNormParamGradBlocks",
		"dbias[j] += dy[r,j]; dgain[j] += dy[r,j]*((x[r,j]-mean[r])*rstd[r]), rows ascending", func(k *kernel) {
			dgain, dbias := k.lanes("dgain"), k.lanes("dbias")
			dy, x, mean, rstd := k.column("dy"), k.column("x"), k.perRow("mean"), k.perRow("rstd")
			k.rows()
			k.eachColumnBlock()
			hat := k.xhat(k.load(x), k.load1(mean), k.load1(rstd))
			g := k.load(dy)
			k.accumulate(dbias, g)
			k.accumulate(dgain, k.mul("g", hat, g))
		})

	for _, affine := range []bool{false, true} {
		layerNormRoutine(define, affine, false)
		layerNormGradRoutine(define, affine)
	}

	define("maxScaledBlocks", "l[i%16] = scale*x[i] > l[i%16] ? scale*x[i] : l[i%16]", func(k *kernel) {
		l := k.lanes("l")
		x := k.slice("x")
		k.n()
		scale := k.scalar("scale")
		k.accumulateMax(l, k.mul("v", k.load(x), scale))
	})
	define("expRowBlocks", "x[i] = exp(scale*x[i]-m); l[i%16] += x[i]", func(k *kernel) {
		k.neon = true
		l := k.lanes("l")
		x := k.slice("x")
		k.n()
		scale, m := k.scalar("scale"), k.scalar("m")
		e := k.expNeg(k.sub("v", k.mul("v", k.load(x), scale), m))
		k.store(x, e)
		k.accumulate(l, e)
	})
	define("dotRowBlocks", "l[i%16] += a[i]*b[i]", func(k *kernel) {
		k.neon = true
		l := k.lanes("l")
		a, b := k.slice("a"), k.slice("b")
		k.n()
		k.accumulate(l, k.mul("ab", k.load(a), k.load(b)))
	})
	define("softmaxGradBlocks", "dx[i] = scale*y[i]*(dy[i]-dot)", func(k *kernel) {
		k.neon = true
		dx, dy, y := k.slice("dx"), k.slice("dy"), k.slice("y")
		k.n()
		scale, dot := k.scalar("scale"), k.scalar("dot")
		d := k.sub("d", k.load(dy), dot)
		s := k.mul("s", k.load(y), scale)
		k.store(dx, k.mul("d", s, d))
	})

	define("smoothL1Blocks", "c = clamp(pred[i]-target[i], -1, 1); d[i] = scale*c; l[i%16] += c*(pred[i]-target[i]-c/2)", func(k *kernel) {
		low, high := k.lanes64("l")
		d, pred, target := k.slice("d"), k.slice("pred"), k.slice("target")
		k.n()
		scale := k.scalar("scale")
		u := k.sub("u", k.load(pred), k.load(target))
		one, minusOne := k.float("1", 1), k.float("-1", -1)
		c := k.choose("c", k.less("over", one, u), one, u)
		c = k.choose("c", k.less("under", c, minusOne), minusOne, c)
		k.store(d, k.mul("d", c, scale))
		half := k.mul("half", c, k.float("0.5", 0.5))
		loss := k.mul("loss", c, k.sub("loss", u, half))
		k.accumulate64(low, k.low("lo", loss))
		k.accumulate64(high, k.high("hi", loss))
	})

	define("squaredErrorBlocks", "u = pred[i]-target[i]; d[i] = scale2*u; l[i%16] += float64(u)*float64(u)", func(k *kernel) {
		low, high := k.lanes64("l")
		d, pred, target := k.slice("d"), k.slice("pred"), k.slice("target")
		k.n()
		scale2 := k.scalar("scale2")
		u := k.sub("u", k.load(pred), k.load(target))
		k.store(d, k.mul("d", u, scale2))
		k.sumSquares(low, high, u)
	})

	for _, ema := range []bool{false, true} {
		name, doc := "adamwBlocks", "one step of AdamW, see adamwOne"
		if ema {
			name, doc = "adamwEMABlocks", "one step of AdamW, see adamwOne; target[i] = mom*target[i] + mom1*p[i]"
		}
		define(name, doc, func(k *kernel) {
			p, g, m, v := k.slice("p"), k.slice("grad"), k.slice("m"), k.slice("v")
			var target *arg
			if ema {
				target = k.slice("target")
			}
			k.n()
			decay, gscale, b1 := k.scalar("decay"), k.scalar("gscale"), k.scalar("b1")
			b2, a2, inv2, eps, rate := k.scalar("b2"), k.scalar("a2"), k.scalar("inv2"), k.scalar("eps"), k.scalar("rate")
			var mom, mom1 *value
			if ema {
				mom, mom1 = k.scalar("mom"), k.scalar("mom1")
			}
			gi := k.mul("g", k.load(g), gscale)
			mi := k.load(m)
			mi = k.add("m", mi, k.mul("dm", k.sub("dm", gi, mi), b1))
			k.store(m, mi)
			vi := k.secondMoment(k.load(v), gi, b2, a2)
			k.store(v, vi)
			den := k.add("den", k.mul("den", k.sqrt("den", vi), inv2), eps)
			step := k.mul("step", k.div("step", mi, den), rate)
			pi := k.sub("p", k.mul("p", k.load(p), decay), step)
			k.store(p, pi)
			if ema {
				k.store(target, k.lerp(k.load(target), pi, mom, mom1))
			}
		})
	}
	halfRoutines(define)
	return list
}

// layerNormRoutine defines the forward pass of layer normalisation, of a result in halves if half.
func layerNormRoutine(define func(name, doc string, body func(k *kernel)), affine, half bool) {
	name, result := "layerNorm", "(x[i]-mean)*rstd"
	if affine {
		name, result = name+"Affine", result+"*gain[i] + bias[i]"
	}
	if half {
		name, result = name+"Half", "half("+result+")"
	}
	define(name+"Rows", "mean = sum(x)/cols; rstd = 1/sqrt(sum((x-mean)^2)/cols + eps); dst[i] = "+result, func(k *kernel) {
		var dst, gain, bias *arg
		if half {
			dst = k.halves("dst")
		} else {
			dst = k.slice("dst")
		}
		x := k.slice("x")
		if affine {
			gain, bias = k.parameter("gain"), k.parameter("bias")
		}
		means, rstds := k.perRow("mean"), k.perRow("rstd")
		k.eachRow()
		cols, eps := k.scalar("cols"), k.scalar("eps")

		sum := k.sum("sum")
		k.eachBlock(func() { k.accumulate(sum, k.load(x)) })
		mean := k.div("mean", k.fold("mean", sum), cols)
		k.store1(means, mean)

		squares := k.sum("squares")
		k.eachBlock(func() {
			d := k.sub("d", k.load(x), mean)
			k.accumulate(squares, k.mul("d", d, d))
		})
		v := k.add("var", k.div("var", k.fold("var", squares), cols), eps)
		rstd := k.div("rstd", k.float("1", 1), k.sqrt("dev", v))
		k.store1(rstds, rstd)

		k.eachBlock(func() {
			y := k.xhat(k.load(x), mean, rstd)
			if affine {
				y = k.add("y", k.mul("y", y, k.load(gain)), k.load(bias))
			}
			if half {
				k.storeHalf(dst, y)
			} else {
				k.store(dst, y)
			}
		})
	})
}

// layerNormGradRoutine defines the gradient of layer normalisation by its input.
func layerNormGradRoutine(define func(name, doc string, body func(k *kernel)), withGain bool) {
	name, product := "addLayerNormGradRows", "dy[i]"
	if withGain {
		name, product = "addLayerNormGainGradRows", "dy[i]*gain[i]"
	}
	doc := "g[i] = " + product + "; xhat[i] = (x[i]-mean)*rstd; dx[i] += rstd*(g[i] - sum(g)/cols - xhat[i]*(sum(g*xhat)/cols))"
	define(name, doc, func(k *kernel) {
		dx, dy, x := k.slice("dx"), k.slice("dy"), k.slice("x")
		var gain *arg
		if withGain {
			gain = k.parameter("gain")
		}
		means, rstds := k.perRow("mean"), k.perRow("rstd")
		k.eachRow()
		cols := k.scalar("cols")
		loadG := func() *value {
			if !withGain {
				return k.load(dy)
			}
			return k.mul("g", k.load(dy), k.load(gain))
		}

		mean, rstd := k.load1(means), k.load1(rstds)
		sumG, sumGX := k.sum("sumG"), k.sum("sumGX")
		k.eachBlock(func() {
			v := loadG()
			k.accumulate(sumG, v)
			k.accumulate(sumGX, k.mul("v", v, k.xhat(k.load(x), mean, rstd)))
		})
		meanG := k.div("meanG", k.fold("meanG", sumG), cols)
		meanGX := k.div("meanGX", k.fold("meanGX", sumGX), cols)
		k.eachBlock(func() {
			hat := k.mul("hat", k.xhat(k.load(x), mean, rstd), meanGX)
			v := k.sub("v", loadG(), meanG)
			v = k.mul("v", k.sub("v", v, hat), rstd)
			k.store(dx, k.add("dx", k.load(dx), v))
		})
	})
}

// Pieces that several routines share.

func (k *kernel) float(name string, v float32) *value { return k.bits(name, math.Float32bits(v)) }

func (k *kernel) abs(v *value) *value { return k.and("abs", v, k.bits("^sign", 1<<31-1)) }

func (k *kernel) xhat(x, mean, rstd *value) *value {
	return k.mul("xhat", k.sub("xhat", x, mean), rstd)
}

func (k *kernel) lerp(a, b, m, m1 *value) *value {
	a = k.mul("a", a, m)
	return k.add("a", a, k.mul("b", b, m1))
}

// secondMoment is v*b2 + g*g*a2.
func (k *kernel) secondMoment(v, g, b2, a2 *value) *value {
	v = k.mul("v", v, b2)
	return k.add("v", v, k.mul("gg", k.mul("gg", g, g), a2))
}

// sumSquares adds the squares of v, in float64.
func (k *kernel) sumSquares(low, high, v *value) {
	lo := k.low("lo", v)
	k.accumulate64(low, k.mul64("lo", lo, lo))
	hi := k.high("hi", v)
	k.accumulate64(high, k.mul64("hi", hi, hi))
}

// polynomial is c[n-1]*x^(n-1) + ... + c[0], by Horner's rule.
func (k *kernel) polynomial(name string, x *value, c []*value) *value {
	p := c[len(c)-1]
	for i := len(c) - 2; i >= 0; i-- {
		p = k.add(name, k.mul(name, x, p), c[i])
	}
	return p
}

// expNeg is exp(x) for x <= 0; see package coef.
func (k *kernel) expNeg(x *value) *value {
	magic := k.float("Magic", coef.Magic)
	z := k.add("z", k.mul("z", x, k.float("Log2E", coef.Log2E)), magic)
	n := k.sub("n", z, magic)
	r := k.sub("r", x, k.mul("hi", n, k.float("Ln2Hi", coef.Ln2Hi)))
	r = k.sub("r", r, k.mul("lo", n, k.float("Ln2Lo", coef.Ln2Lo)))
	p := k.polynomial("p", r, []*value{k.float("ExpC2", coef.ExpC2), k.float("ExpC3", coef.ExpC3),
		k.float("ExpC4", coef.ExpC4), k.float("ExpC5", coef.ExpC5), k.float("ExpC6", coef.ExpC6)})
	one := k.float("1", 1)
	p = k.mul("p", p, k.mul("rr", r, r))
	p = k.add("p", k.add("p", p, r), one)
	pow2 := k.addInt("pow2", k.shl("pow2", z, 23), one)
	below := k.less("below", x, k.float("ExpMin", coef.ExpMin))
	return k.mulUnless("e", p, pow2, below)
}

// normalTail returns exp(-x*x/2) and Phi(-|x|); see package coef.
func (k *kernel) normalTail(x *value) (e, tail *value) {
	one := k.float("1", 1)
	t := k.add("t", k.mul("t", k.abs(x), k.float("TailP", coef.TailP)), one)
	t = k.div("t", one, t) // first, so that the divider works while exp goes on
	e = k.expNeg(k.mul("h", k.mul("h", x, x), k.float("-0.5", -0.5)))
	q := k.polynomial("q", t, []*value{k.float("TailQ0", coef.TailQ0), k.float("TailQ1", coef.TailQ1),
		k.float("TailQ2", coef.TailQ2), k.float("TailQ3", coef.TailQ3), k.float("TailQ4", coef.TailQ4),
		k.float("TailQ5", coef.TailQ5), k.float("TailQ6", coef.TailQ6), k.float("TailQ7", coef.TailQ7)})
	return e, k.mul("tail", e, k.mul("q", q, t))
}
