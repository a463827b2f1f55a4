package jpeg

import "errors"

const (
	lookBits = 10
	skipBits = 11
)

// huffman is a table of codes (T.81, annex C and F.2.2.3), for symbols that are a run of zeros and the size in bits of the
// coefficient after it. Codes are looked up by the next bits together with the coefficient itself, if it is within reach.
type huffman struct {
	look    [1 << lookBits]entry
	skip    [1 << skipBits]skipEntry
	end     [17]uint32 // by length: the first 16 bits that are beyond the codes of that length
	base    [17]int32  // by length: the index of a code's symbol, less the code
	counts  [16]byte   // codes of each length from 1
	symbols [256]byte  // in the order of their codes
	defined bool
	looks   bool // look is filled in
	skips   bool // skip is filled in
}

// entry is what a code means, in fields from the lowest bit: bits read (5), size of the coefficient that is still to be
// read (4), by how much the zigzag index advances (7), and the coefficient (16, signed), 0 if it is still to be read or
// if there is none. The run of zeros is one less than the advance of a coefficient. Without one the advance is 16 for
// 16 zeros, and 64 + r for the end of 2^r and more blocks.
type entry uint32

func (e entry) length() uint   { return uint(e & 31) }
func (e entry) size() uint     { return uint(e >> 5 & 15) }
func (e entry) advance() int   { return int(e >> 9 & 127) }
func (e entry) value() int32   { return int32(e) >> 16 }
func (e entry) allBits() uint  { return e.length() + e.size() }
func (e entry) withCode() bool { return e&31 != 0 }

const zeroRun, endOfBlock = 16, 64

func newEntry(symbol byte, length uint) entry {
	run, size := entry(symbol>>4), entry(symbol&15)
	advance := run + 1
	if size == 0 {
		advance = endOfBlock + run
		if run == 15 {
			advance = zeroRun
		}
	}
	return entry(length) | size<<5 | advance<<9
}

// skipEntry is for passing over coefficients, as many as the next bits have in whole: bits (4), advance of the zigzag
// index (7), and whether the block ends thereafter (1).
type skipEntry uint16

func (e skipEntry) length() uint { return uint(e & 15) }
func (e skipEntry) advance() int { return int(e >> 4 & 127) }
func (e skipEntry) ends() bool   { return e>>11 != 0 }

// readHuffman reads Huffman tables (T.81, B.2.4.2).
func (d *Decoder) readHuffman(s []byte) error {
	for len(s) > 0 {
		if len(s) < 17 {
			return errors.New("a Huffman table of the wrong length")
		}
		class, id := s[0]>>4, s[0]&15
		if class > 1 || id > 3 {
			return errors.New("a Huffman table of unknown kind")
		}
		total := 0
		for _, n := range s[1:17] {
			total += int(n)
		}
		if total == 0 || total > 256 || len(s) < 17+total {
			return errors.New("a Huffman table of the wrong length")
		}
		t := &d.dc[id]
		if class == 1 {
			t = &d.ac[id]
		} else {
			for _, symbol := range s[17 : 17+total] {
				if symbol > 15 {
					return errors.New("a Huffman table for differences of over 15 bits")
				}
			}
		}
		if err := t.set(s[1:17], s[17:17+total]); err != nil {
			return err
		}
		s = s[17+total:]
	}
	return nil
}

// set makes the table from the number of codes of each length from 1 to 16 and their symbols. What is looked up is filled
// in when a scan uses the table, as a file may define any number of tables to no end.
func (t *huffman) set(counts, symbols []byte) error {
	copy(t.counts[:], counts)
	copy(t.symbols[:], symbols)
	t.defined, t.looks, t.skips = false, false, false
	code, at := uint32(0), int32(0)
	for length := uint(1); length <= 16; length++ {
		n := uint32(counts[length-1])
		if code+n > 1<<length {
			return errors.New("a Huffman table with too many codes")
		}
		t.base[length] = at - int32(code)
		code += n
		at += int32(n)
		t.end[length] = code << (16 - length)
		code <<= 1
	}
	t.defined = true
	return nil
}

// fillLook fills in look.
func (t *huffman) fillLook() {
	if t.looks {
		return
	}
	t.looks = true
	t.look = [1 << lookBits]entry{}
	code, at := uint32(0), 0
	for length := uint(1); length <= lookBits; length++ {
		for range t.counts[length-1] {
			t.enter(code, length, t.symbols[at])
			code++
			at++
		}
		code <<= 1
	}
}

// enter fills in look for all bits that begin with a code.
func (t *huffman) enter(code uint32, length uint, symbol byte) {
	e := newEntry(symbol, length)
	free := lookBits - length
	all := t.look[code<<free:][:1<<free]
	size := e.size()
	for i := range all {
		all[i] = e
		if size != 0 && size <= free {
			v := extend(int32(i>>(free-size)), size)
			all[i] = e&^(31|15<<5) | entry(length+size) | entry(uint32(v)<<16)
		}
	}
}

// lookup returns the meaning of the next bits, which are not consumed. There must be 16 of them.
func (t *huffman) lookup(r *bitReader) entry {
	if e := t.look[r.acc>>(64-lookBits)]; e.withCode() {
		return e
	}
	return t.search(r)
}

// search finds a code that is longer than lookBits.
func (t *huffman) search(r *bitReader) entry {
	bits := uint32(r.acc >> 48)
	for length := uint(lookBits + 1); length <= 16; length++ {
		if bits < t.end[length] {
			return newEntry(t.symbols[(t.base[length]+int32(bits>>(16-length)))&255], length)
		}
	}
	r.bad = true
	return newEntry(0, 16)
}

// fillSkip fills in skip.
func (t *huffman) fillSkip() {
	if t.skips {
		return
	}
	t.skips = true
	for i := range t.skip {
		bits := uint32(i) << (32 - skipBits)
		used, advance, ends := uint(0), 0, false
		for !ends {
			e := t.look[bits<<used>>(32-lookBits)]
			if !e.withCode() || used+e.allBits() > skipBits {
				break
			}
			if e.advance() >= endOfBlock {
				ends = true
			} else if advance+e.advance() < 64 {
				advance += e.advance()
			} else {
				break
			}
			used += e.allBits()
		}
		t.skip[i] = skipEntry(used) | skipEntry(advance)<<4
		if ends {
			t.skip[i] |= 1 << 11
		}
	}
}
