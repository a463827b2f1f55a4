package jpeg

import (
	"errors"
	"math/bits"
)

// zigzag is the natural position, row times 8 plus column, of each coefficient in the order of the file (T.81, figure
// A.6). Runs of zeros in a damaged file lead up to 16 beyond the last one.
var zigzag = [128]uint8{
	0, 1, 8, 16, 9, 2, 3, 10,
	17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34,
	27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36,
	29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46,
	53, 60, 61, 54, 47, 55, 62, 63,
	63, 63, 63, 63, 63, 63, 63, 63,
	63, 63, 63, 63, 63, 63, 63, 63,
}

// keep returns the coefficients, as bits by zigzag index, that kx by ky pixels of a block are made of.
func keep(kx, ky int) (mask uint64) {
	for i, at := range zigzag[:64] {
		if int(at&7) < kx && int(at>>3) < ky {
			mask |= 1 << i
		}
	}
	return mask
}

// band returns the zigzag indices from start to end as bits.
func band(start, end int) uint64 {
	return ^uint64(0) << uint(start) & (^uint64(0) >> uint(63-end))
}

// chooseScans marks the scans to be decoded: those with a coefficient that is kept, and, since refining a band needs to
// know which of its coefficients are zero, those with a coefficient of a band that is refined later and is needed itself.
func (d *Decoder) chooseScans() {
	var need [4]uint64
	for i := range d.h.components {
		need[i] = d.planes[i].mask
	}
	for i := len(d.h.scans) - 1; i >= 0; i-- {
		s := &d.h.scans[i]
		d.wanted[i] = false
		b := band(s.start, s.end)
		for _, c := range s.components[:s.n] {
			if need[c]&b == 0 {
				continue
			}
			d.wanted[i] = true
			if s.high != 0 {
				need[c] |= b
			}
		}
	}
}

// readScan decodes a scan whose coded bits begin at at, and returns where it stopped reading.
func (d *Decoder) readScan(segment []byte, at int) (int, error) {
	s, err := d.h.readScan(segment)
	if err != nil {
		return 0, err
	}
	if d.scan >= len(d.h.scans) {
		return 0, errors.New("a scan that could not be foreseen")
	}
	wanted := d.wanted[d.scan]
	d.scan++
	for i, c := range s.components[:s.n] {
		p := &d.planes[c]
		if !p.seen {
			q := d.h.components[c].quant
			if !d.hasQuant[q] {
				return 0, errors.New("a quantisation table is missing")
			}
			for k, v := range d.quant[q] {
				p.quant[zigzag[k]] = v
			}
			p.seen = true
		}
		p.dcTable, p.acTable = &d.dc[s.tables[i]>>4], &d.ac[s.tables[i]&15]
		needsDC, needsAC := s.start == 0 && s.high == 0, s.end > 0
		if needsDC && !p.dcTable.defined || needsAC && !p.acTable.defined {
			return 0, errors.New("a Huffman table is missing")
		}
		if !wanted {
			continue
		}
		if needsDC {
			p.dcTable.fillLook()
		}
		if needsAC {
			p.acTable.fillLook()
		}
		if p.limit < 64 && !d.h.Progressive {
			p.acTable.fillSkip()
		}
	}
	if !wanted {
		return at, nil
	}
	d.bits.start(at)
	if d.h.stored() {
		err = d.readStored(&s)
	} else {
		err = d.readRows(&s)
	}
	return d.bits.pos, err
}

// restarts counts the MCUs of a scan and reads the markers between intervals (T.81, E.2.4).
type restarts struct{ left, next int }

func (d *Decoder) startInterval() {
	for i := range d.planes {
		d.planes[i].dc = 0
	}
	d.eobRun = 0
}

// before is called before each MCU.
func (r *restarts) before(d *Decoder) error {
	if r.left > 0 || d.interval == 0 {
		r.left--
		return nil
	}
	r.left = d.interval - 1
	if err := d.bits.err(); err != nil {
		return err
	}
	marker, at, err := nextMarker(d.bits.data, d.bits.pos)
	if err != nil {
		return errShort
	}
	if int(marker) != markerRST0+r.next {
		return errors.New("a restart marker is missing or out of order")
	}
	r.next = (r.next + 1) & 7
	d.bits.start(at)
	d.startInterval()
	return nil
}

// readRows decodes a sequential scan of all components, making pixels of each row of MCUs in turn.
func (d *Decoder) readRows(s *scanHeader) error {
	again := restarts{left: d.interval}
	d.startInterval()
	for my := range d.h.mcusY {
		for mx := range d.h.mcusX {
			if err := again.before(d); err != nil {
				return err
			}
			for _, c := range s.components[:s.n] {
				p := &d.planes[c]
				for v := range p.vs {
					for h := range p.hs {
						flat := d.bits.block(&d.coef, &p.quant, p)
						at := v*p.ky*p.stride + (mx*p.hs+h)*p.kx
						p.transform(&d.coef, p.strip[at:], flat)
					}
				}
			}
		}
		if err := d.bits.err(); err != nil {
			return err
		}
		d.emitRows(my)
	}
	return nil
}

// block reads a block of a sequential scan (T.81, F.2.2), dequantised, in natural order. Coefficients beyond the last one
// that the plane keeps are passed over. It says whether only the first can be other than zero.
func (r *bitReader) block(coef, quant *[64]int32, p *plane) (flat bool) {
	*coef = [64]int32{}
	if r.n < 32 {
		r.fill()
	}
	e := p.dcTable.lookup(r)
	acc, n := r.acc<<e.length(), r.n-int(e.length())
	v := e.value()
	if size := e.size(); size != 0 {
		v = extend(int32(acc>>(64-size)), size)
		acc <<= size
		n -= int(size)
	}
	p.dc += v
	coef[0] = p.dc * quant[0]

	flat = true
	ac, limit := p.acTable, p.limit
	k := 1
	for k < limit {
		if n < 32 {
			r.acc, r.n = acc, n
			r.fill()
			acc, n = r.acc, r.n
		}
		e := ac.look[acc>>(64-lookBits)]
		if !e.withCode() {
			r.acc = acc
			e = ac.search(r)
		}
		acc <<= e.length()
		n -= int(e.length())
		k += e.advance()
		v := e.value()
		if v == 0 {
			size := e.size()
			if size == 0 {
				continue
			}
			v = extend(int32(acc>>(64-size)), size)
			acc <<= size
			n -= int(size)
		}
		at := zigzag[(k-1)&127] & 63
		coef[at] = v * quant[at]
		flat = false
	}
	for k < 64 {
		if n < 32 {
			r.acc, r.n = acc, n
			r.fill()
			acc, n = r.acc, r.n
		}
		if s := ac.skip[acc>>(64-skipBits)]; s != 0 && k+s.advance() < 64 {
			acc <<= s.length()
			n -= int(s.length())
			k += s.advance()
			if s.ends() {
				break
			}
			continue
		}
		e := ac.look[acc>>(64-lookBits)]
		if !e.withCode() {
			r.acc = acc
			e = ac.search(r)
		}
		acc <<= e.allBits()
		n -= int(e.allBits())
		k += e.advance()
	}
	r.acc, r.n = acc, n
	return flat
}

// readStored decodes a scan into the stored coefficients.
func (d *Decoder) readStored(s *scanHeader) error {
	again := restarts{left: d.interval}
	d.startInterval()
	if s.n == 1 { // an MCU is a block, and blocks outside the picture are left out (T.81, A.2.2)
		p := &d.planes[s.components[0]]
		for y := range p.scanY {
			for x := range p.scanX {
				if err := again.before(d); err != nil {
					return err
				}
				d.readBlock(s, p, y*p.blocksX+x)
			}
			if err := d.bits.err(); err != nil {
				return err
			}
		}
		return nil
	}
	for my := range d.h.mcusY {
		for mx := range d.h.mcusX {
			if err := again.before(d); err != nil {
				return err
			}
			for _, c := range s.components[:s.n] {
				p := &d.planes[c]
				for v := range p.vs {
					for h := range p.hs {
						d.readBlock(s, p, (my*p.vs+v)*p.blocksX+mx*p.hs+h)
					}
				}
			}
		}
		if err := d.bits.err(); err != nil {
			return err
		}
	}
	return nil
}

var ones = func() (t [64]int32) {
	for i := range t {
		t[i] = 1
	}
	return t
}()

// readBlock decodes what a scan says of one stored block.
func (d *Decoder) readBlock(s *scanHeader, p *plane, block int) {
	n := p.kx * p.ky
	coef := p.coef[block*n:][:n:n]
	switch {
	case !d.h.Progressive:
		d.bits.block(&d.coef, &ones, p)
		for y := range p.ky {
			for x := range p.kx {
				coef[y*p.kx+x] = int16(d.coef[8*y+x])
			}
		}
	case s.start == 0 && s.high == 0:
		p.dc += d.bits.value(p.dcTable)
		coef[0] = int16(p.dc << s.low)
	case s.start == 0:
		coef[0] |= int16(d.bits.take(1) << s.low)
	case s.high == 0:
		d.firstAC(s, p, coef, &p.nonzero[block])
	default:
		d.refineAC(s, p, coef, &p.nonzero[block])
	}
}

// next returns and consumes the next code, and the coefficient after it.
func (r *bitReader) next(t *huffman) (e entry, v int32) {
	if r.n < 32 {
		r.fill()
	}
	e = t.lookup(r)
	r.acc <<= e.length()
	r.n -= int(e.length())
	v = e.value()
	if size := e.size(); size != 0 {
		v = extend(r.take(size), size)
	}
	return e, v
}

func (r *bitReader) value(t *huffman) int32 {
	_, v := r.next(t)
	return v
}

// firstAC reads a band of coefficients for the first time (T.81, G.1.2.2).
func (d *Decoder) firstAC(s *scanHeader, p *plane, coef []int16, nonzero *uint64) {
	if d.eobRun > 0 {
		d.eobRun--
		return
	}
	for k := s.start; k <= s.end; {
		e, v := d.bits.next(p.acTable)
		if e.advance() >= endOfBlock {
			d.eobRun = d.endRun(e) - 1
			return
		}
		k += e.advance()
		if v == 0 {
			continue
		}
		*nonzero |= 1 << uint(k-1)
		if at := p.place[(k-1)&127]; int(at) < len(coef) {
			coef[at] = int16(v << s.low)
		}
	}
}

// endRun reads the number of blocks, this one included, that have no further coefficient in the band.
func (d *Decoder) endRun(e entry) int32 {
	r := uint(e.advance() - endOfBlock)
	return 1<<r + d.bits.take(r)
}

// refineAC reads one more bit of the coefficients of a band that are known not to be zero, and those that become so now
// (T.81, G.1.2.3).
func (d *Decoder) refineAC(s *scanHeader, p *plane, coef []int16, nonzero *uint64) {
	k := s.start
	for d.eobRun == 0 && k <= s.end {
		e, v := d.bits.next(p.acTable)
		if e.advance() >= endOfBlock {
			d.eobRun = d.endRun(e)
			break
		}
		zeros := ^*nonzero & band(k, s.end)
		for range e.advance() - 1 {
			zeros &= zeros - 1
		}
		at := min(bits.TrailingZeros64(zeros), s.end+1)
		if at > k {
			d.refine(s, p, coef, *nonzero&band(k, at-1))
		}
		if v != 0 && at <= s.end {
			*nonzero |= 1 << uint(at)
			if i := p.place[at]; int(i) < len(coef) {
				coef[i] = int16(sign(v) << s.low)
			}
		}
		k = at + 1
	}
	if d.eobRun > 0 {
		if k <= s.end {
			d.refine(s, p, coef, *nonzero&band(k, s.end))
		}
		d.eobRun--
	}
}

// refine reads a bit for each of the coefficients in set.
func (d *Decoder) refine(s *scanHeader, p *plane, coef []int16, set uint64) {
	n := bits.OnesCount64(set)
	for n > 32 { // more than one fill is sure to give
		d.refineOne(s, p, coef, bits.TrailingZeros64(set), d.bits.take(1))
		set &= set - 1
		n--
	}
	if d.bits.n < 32 {
		d.bits.fill()
	}
	acc := d.bits.acc
	d.bits.acc <<= uint(n)
	d.bits.n -= n
	for kept := set & p.mask; kept != 0; kept &= kept - 1 {
		k := bits.TrailingZeros64(kept)
		before := bits.OnesCount64(set & (1<<uint(k) - 1))
		d.refineOne(s, p, coef, k, int32(acc<<uint(before)>>63))
	}
}

// refineOne takes coefficient k further from zero by a bit.
func (d *Decoder) refineOne(s *scanHeader, p *plane, coef []int16, k int, bit int32) {
	if at := p.place[k&127]; int(at) < len(coef) {
		if c := &coef[at]; *c>>s.low&1 == 0 {
			*c += int16(bit * sign(int32(*c)) << s.low)
		}
	}
}

func sign(v int32) int32 { return v>>31 | 1 }

// reconstruct makes pixels of the stored coefficients.
func (d *Decoder) reconstruct() {
	for my := range d.h.mcusY {
		for i := range d.h.components {
			p := &d.planes[i]
			for v := range p.vs {
				first := (my*p.vs + v) * p.blocksX
				for x := range p.blocksX {
					flat := p.dequantise(&d.coef, first+x)
					p.transform(&d.coef, p.strip[v*p.ky*p.stride+x*p.kx:], flat)
				}
			}
		}
		d.emitRows(my)
	}
}

// dequantise is dst[8*y+x] = coef[block][y][x] * quant[8*y+x]. It says whether only the first can be other than zero; the
// rest of dst is then left alone.
func (p *plane) dequantise(dst *[64]int32, block int) (flat bool) {
	n := p.kept()
	coef := p.coef[block*n:][:n]
	dst[0] = int32(coef[0]) * p.quant[0]
	if len(p.nonzero) > 0 && p.nonzero[block]&p.mask == 0 {
		return true
	}
	if p.kx == 8 {
		for i, c := range coef {
			dst[i&63] = int32(c) * p.quant[i&63]
		}
		return false
	}
	for y := range p.ky {
		for x, c := range coef[y*p.kx:][:p.kx] {
			at := (8*y + x) & 63
			dst[at] = int32(c) * p.quant[at]
		}
	}
	return false
}
