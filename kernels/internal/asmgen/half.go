package main

// halfRoutines are the routines on halves and on random bits.
func halfRoutines(define func(name, doc string, body func(k *kernel))) {
	define("roundHalfBlocks", "dst[i] = half(roundHalf(src[i], the low bits of noise(i)))", func(k *kernel) {
		index := k.lanes("index")
		dst, src := k.halves("dst"), k.slice("src")
		k.n()
		w := k.noise(index, k.scalar("key"))
		k.storeHalf(dst, k.roundHalf(k.load(src), k.lowBits(w)))
	})
	define("lerpHalfBlocks", "dst[i] = half(roundHalf(m*dst[i] + m1*src[i], the low bits of noise(i)))", func(k *kernel) {
		index := k.lanes("index")
		dst, src := k.halves("dst"), k.slice("src")
		k.n()
		m, m1, key := k.scalar("m"), k.scalar("m1"), k.scalar("key")
		w := k.noise(index, key)
		k.storeHalf(dst, k.roundHalf(k.lerp(k.loadHalf(dst), k.load(src), m, m1), k.lowBits(w)))
	})
	define("widenRowsBlock", "dst[r*16+j] = float32(x[r*stride+j]), j < 16, rows ascending", func(k *kernel) {
		dst, x := k.slice("dst"), k.column("x")
		k.rows()
		k.store(dst, k.loadHalf(x))
	})

	layerNormRoutine(define, false, true)
	layerNormRoutine(define, true, true)

	for _, ema := range []string{"", "EMA", "EMAHalf"} {
		doc := "one step of AdamW with moments in halves, see adamwHalfOne"
		if ema != "" {
			doc += "; target[i] = mom*target[i] + mom1*p[i]"
		}
		define("adamwHalf"+ema+"Blocks", doc, func(k *kernel) {
			index := k.lanes("index")
			p, g, m, s := k.slice("p"), k.slice("grad"), k.halves("m"), k.halves("s")
			var target *arg
			switch ema {
			case "EMA":
				target = k.slice("target")
			case "EMAHalf":
				target = k.halves("target")
			}
			k.n()
			decay, gscale, b1 := k.scalar("decay"), k.scalar("gscale"), k.scalar("b1")
			b2, a2, inv2, eps, rate := k.scalar("b2"), k.scalar("a2"), k.scalar("inv2"), k.scalar("eps"), k.scalar("rate")
			key := k.scalar("key")
			var mom, mom1 *value
			if ema != "" {
				mom, mom1 = k.scalar("mom"), k.scalar("mom1")
			}
			gi := k.mul("g", k.load(g), gscale)
			mi := k.loadHalf(m)
			mi = k.add("m", mi, k.mul("dm", k.sub("dm", gi, mi), b1))
			si := k.loadHalf(s)
			si = k.sqrt("s", k.secondMoment(k.mul("ss", si, si), gi, b2, a2))
			w := k.noise(index, key)
			k.storeHalf(m, k.roundHalf(mi, k.lowBits(w)))
			k.storeHalf(s, k.roundHalfMagnitude(si, k.highBits(w)))
			den := k.add("den", k.mul("den", si, inv2), eps)
			step := k.mul("step", k.div("step", mi, den), rate)
			pi := k.sub("p", k.mul("p", k.load(p), decay), step)
			k.store(p, pi)
			switch ema {
			case "EMA":
				k.store(target, k.lerp(k.load(target), pi, mom, mom1))
			case "EMAHalf":
				t := k.lerp(k.loadHalf(target), pi, mom, mom1)
				k.storeHalf(target, k.roundHalf(t, k.highBits(k.mulInt("w", w, k.bits("noiseMul1", noiseMul1)))))
			}
		})
	}
}

// The multipliers of package kernels' noise.
const (
	noiseMul1 = 0x21f0aaad
	noiseMul2 = 0xd35a2d97
)

// noise returns the random words of a block and moves the counters on. See noiseFrom in package kernels.
func (k *kernel) noise(index, key *value) *value {
	x := k.xor("w", index, k.shr("w", index, 16))
	x = k.mulInt("w", x, k.bits("noiseMul1", noiseMul1))
	x = k.xor("w", x, k.xor("t", k.shr("t", x, 15), key))
	x = k.mulInt("w", x, k.bits("noiseMul2", noiseMul2))
	k.accumulateInt(index, k.bits("16", block))
	return k.xor("w", x, k.shr("t", x, 15))
}

func (k *kernel) lowBits(w *value) *value  { return k.and("r", w, k.bits("low 13 bits", 1<<13-1)) }
func (k *kernel) highBits(w *value) *value { return k.shr("r", w, 32-13) }

// roundHalf rounds x to a half by the 13 random bits r; see roundHalf in package kernels.
func (k *kernel) roundHalf(x, r *value) *value {
	a := k.roundHalfFinite(k.abs(x), r)
	a = k.xor("a", a, k.and("sign", x, k.bits("sign", 1<<31)))
	finite := k.less("finite", k.abs(x), k.bits("Inf", 0x7f800000)) // once more, to save the registers of the first
	return k.choose("a", finite, a, x)
}

// roundHalfMagnitude is roundHalf for x >= 0 or NaN.
func (k *kernel) roundHalfMagnitude(x, r *value) *value {
	a := k.roundHalfFinite(x, r)
	return k.choose("a", k.less("finite", x, k.bits("Inf", 0x7f800000)), a, x)
}

// roundHalfFinite is roundHalf for finite x >= 0, and anything for others.
func (k *kernel) roundHalfFinite(x, r *value) *value {
	a := k.min("a", k.float("65504", 65504), x)
	least := k.float("2^-14", 0x1p-14)
	bias := k.and("bias", k.less("bias", a, least), least)
	a = k.addInt("a", k.add("a", a, bias), r)
	a = k.and("a", a, k.bits("^low 13 bits", 1<<32-1<<13))
	return k.sub("a", a, bias)
}
