package i8

// arrangement is how the bytes of a packed right-hand operand lie. Each instruction set wants its own; a Panels stays
// with the one that it was packed for.
type arrangement uint8

const (
	inRuns    arrangement = iota // generic, NEON
	inDots                       // NEON with dot product (SDOT)
	inOcts                       // NEON with matrix multiply (SMMLA)
	inChains                     // AVX2 (VPMADDUBSW)
	inQuads                      // AVX-VNNI (VPDPBUSD)
	inQuads32                    // AVX-512 VNNI
)

// geometries are the layouts. All are [N/width][K/run][width][run]: for each channel of a panel a run of neighbouring k.
var geometries = [...]geometry{
	inRuns:    {width: 4, run: 32, unit: chainBlock, chains: true},
	inDots:    {width: 16, run: 4, unit: 16},
	inOcts:    {width: 8, run: 8, unit: 8},
	inChains:  {width: 16, run: 4, unit: chainBlock, chains: true, order: &chainOrder},
	inQuads:   {width: 16, run: 4, unit: 4, biased: true},
	inQuads32: {width: 32, run: 4, unit: 4, biased: true},
}

type geometry struct {
	width  int        // channels of a panel
	run    int        // neighbouring k of a channel
	unit   int        // K is padded to a multiple of it
	chains bool       // the kernel is faster with weights that obey the chain rule
	biased bool       // the kernel adds 128 to the activations: the sums begin at -128 * (sum of the weights)
	order  *byteOrder // the k of a block of 32 are put into this order first; nil: they stay
}

// byteOrder is an order of the 32 bytes of a block, as the two instructions that make it: of the 16 bytes of each half
// (VPSHUFB), then of the eight words of four bytes (VPERMD).
type byteOrder struct {
	bytes [chainBlock]uint8
	words [chainBlock / 4]uint32
}

var (
	// chainOrder brings the four weights of a chain to where VPMADDUBSW and VPADDW add them up: i and i+8 side by side,
	// i+16 and i+24 in the same place of the next word. The words hold k 0 8 1 9, 16 24 17 25, 2 10 3 11, 18 26 19 27...
	chainOrder = byteOrder{
		bytes: [chainBlock]uint8{
			0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15,
			0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15},
		words: [8]uint32{0, 4, 1, 5, 2, 6, 3, 7},
	}
	plainOrder = byteOrder{
		bytes: [chainBlock]uint8{
			0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
			0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		words: [8]uint32{0, 1, 2, 3, 4, 5, 6, 7},
	}
)

// put is dst[i] = src[where i comes from] for a block.
func (o *byteOrder) put(dst, src *[chainBlock]int8) {
	for i := range dst {
		at := o.words[i/4]*4 + uint32(i%4)
		dst[i] = src[at&^15+uint32(o.bytes[at])]
	}
}

// packPanel packs rows [up to l.width, k] as a panel, and sets the channels' starts where the layout has them.
func packPanel(panel []int8, start []int32, rows []int8, k int, l *geometry) {
	c := packVector(panel, start, rows, k, l)
	for ; c*k < len(rows); c++ {
		row := rows[c*k : (c+1)*k]
		packChannel(panel[c*l.run:], row, l)
		if l.biased {
			start[c] = -128 * sum(row)
		}
	}
}

// packChannel is d[k/run*width*run + k%run] = row[k], with k in the layout's order.
func packChannel(d, row []int8, l *geometry) {
	if l.order == nil {
		packChannelRuns(d, row, l)
		return
	}
	for len(row) > 0 {
		var block, ordered [chainBlock]int8
		row = row[copy(block[:], row):]
		l.order.put(&ordered, &block)
		packChannelRuns(d, ordered[:], l)
		d = d[min(len(d), chainBlock*l.width):]
	}
}

func packChannelRuns(d, row []int8, l *geometry) {
	step := l.width * l.run
	for ; len(row) >= l.run; row = row[l.run:] {
		switch l.run {
		case 4:
			v := *(*[4]int8)(row) // a copy of its own: the compiler then needs no memmove
			*(*[4]int8)(d) = v
		case 8:
			v := *(*[8]int8)(row)
			*(*[8]int8)(d) = v
		default:
			copy(d[:l.run], row)
		}
		d = d[min(len(d), step):]
	}
	copy(d, row)
}

// sum is the sum of a row; it fits for MaxK values.
func sum(x []int8) (s int32) {
	for _, v := range x {
		s += int32(v)
	}
	return s
}
