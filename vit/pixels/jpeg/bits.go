package jpeg

import "encoding/binary"

// bitReader reads the bits of a scan, the highest of each byte first, and takes out the zero byte that follows each 0xff.
// At a marker, or at the end of the file, it goes on with zeros, and counts them.
type bitReader struct {
	data []byte
	pos  int    // of the next byte to be taken into acc
	acc  uint64 // the next bit is the highest; bits below the n highest are undefined
	n    int    // valid bits, made-up ones included
	made int    // made-up bits that acc was given in all
	bad  bool   // a code that is in no table was met
}

func (r *bitReader) start(pos int) { r.pos, r.acc, r.n, r.made, r.bad = pos, 0, 0, 0, false }

// err says whether anything but the bits of the scan was decoded so far.
func (r *bitReader) err() error {
	switch {
	case r.made > r.n:
		return errShort
	case r.bad:
		return errCode
	}
	return nil
}

const (
	eachByte = 0x0101010101010101
	highBits = 0x8080808080808080
)

// fill makes at least 56 bits valid.
func (r *bitReader) fill() {
	if r.pos+8 <= len(r.data) {
		x := binary.BigEndian.Uint64(r.data[r.pos:])
		if (^x-eachByte)&x&highBits == 0 { // no byte is 0xff
			r.acc |= x >> uint(r.n)
			r.pos += (63 - r.n) >> 3
			r.n |= 56
			return
		}
	}
	r.fillSlowly()
}

func (r *bitReader) fillSlowly() {
	r.acc &^= ^uint64(0) >> uint(r.n)
	for ; r.n <= 56; r.n += 8 {
		if r.pos >= len(r.data) {
			r.made += 8
			continue
		}
		b := r.data[r.pos]
		if b == 0xff {
			if r.pos+1 >= len(r.data) || r.data[r.pos+1] != 0 {
				r.made += 8
				continue
			}
			r.pos++
		}
		r.pos++
		r.acc |= uint64(b) << uint(56-r.n)
	}
}

// take returns the next n bits, at most 16.
func (r *bitReader) take(n uint) int32 {
	if r.n < 16 {
		r.fill()
	}
	v := r.acc >> (64 - n)
	r.acc <<= n
	r.n -= int(n)
	return int32(v)
}

// extend makes a signed value of size bits (T.81, F.2.2.1): the lower half of their range stands for negative numbers.
func extend(v int32, size uint) int32 {
	return v + ((v-1<<(size-1))>>31)&(1-1<<size)
}
