package jpeg

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// writer packs bits as an encoder does.
type writer struct {
	out []byte
	acc uint32
	n   uint
}

func (w *writer) put(v, n uint) {
	for i := n; i > 0; i-- {
		w.acc = w.acc<<1 | uint32(v>>(i-1)&1)
		if w.n++; w.n == 8 {
			w.out = append(w.out, byte(w.acc))
			if byte(w.acc) == 0xff {
				w.out = append(w.out, 0)
			}
			w.acc, w.n = 0, 0
		}
	}
}

// randomTable makes a table with codes of all lengths from 2 to 16.
func randomTable(t *testing.T, r *rand.Rand) (table *huffman, codes map[byte][2]uint) {
	counts := []byte{0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 5, 9, 17, 20, 30}
	var symbols []byte
	for _, s := range r.Perm(256) {
		if s&15 <= 10 && (s&15 != 0 || s == 0 || s == 0xf0) {
			symbols = append(symbols, byte(s))
		}
	}
	slices.SortStableFunc(symbols, func(a, b byte) int { return int(a&15) - int(b&15) })
	total := 0
	for _, n := range counts {
		total += int(n)
	}
	table, codes = new(huffman), map[byte][2]uint{}
	require.NoError(t, table.set(counts, symbols[:total]))
	table.fillLook()
	code, at := uint(0), 0
	for i, n := range counts {
		for range n {
			codes[symbols[at]] = [2]uint{code, uint(i) + 1}
			code++
			at++
		}
		code <<= 1
	}
	return table, codes
}

// Codes are read back one by one with their coefficients, whatever their length, and passed over in the same steps.
func TestCodesAreReadBack(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 20 {
		table, codes := randomTable(t, r)
		var symbols []byte
		for s := range codes {
			symbols = append(symbols, s)
		}
		var w writer
		type item struct {
			symbol byte
			value  int32
		}
		var items []item
		for range 500 {
			s := symbols[r.IntN(len(symbols))]
			size := uint(s & 15)
			it := item{symbol: s}
			w.put(codes[s][0], codes[s][1])
			if size > 0 {
				raw := uint(r.IntN(1 << size))
				w.put(raw, size)
				it.value = int32(raw)
				if raw < 1<<(size-1) {
					it.value -= 1<<size - 1
				}
			}
			items = append(items, it)
		}
		w.put(0x7f, 7)
		reader := bitReader{data: append(w.out, 0xff, markerEOI)}
		for _, it := range items {
			e, v := reader.next(table)
			require.Equal(t, it.value, v)
			require.Equal(t, newEntry(it.symbol, 1).advance(), e.advance())
		}
		require.NoError(t, reader.err())
		for range 8 {
			reader.take(16)
		}
		require.ErrorIs(t, reader.err(), errShort)
	}
}

// The entries for passing over coefficients say what reading them one by one says.
func TestSkipEntries(t *testing.T) {
	table, _ := randomTable(t, rand.New(rand.NewPCG(9, 10)))
	table.fillSkip()
	several := 0
	for i, s := range table.skip {
		r := bitReader{acc: uint64(i) << (64 - skipBits), n: 64}
		advance, ends := 0, false
		for symbols := 0; uint(64-r.n) < s.length(); symbols++ {
			require.False(t, ends)
			e, _ := r.next(table)
			if ends = e.advance() >= endOfBlock; !ends {
				advance += e.advance()
			}
			if symbols == 1 {
				several++
			}
		}
		require.EqualValues(t, s.length(), 64-r.n)
		require.Equal(t, advance, s.advance())
		require.Equal(t, ends, s.ends())
	}
	require.Greater(t, several, 100)
}

func TestUnknownCode(t *testing.T) {
	var table huffman
	require.NoError(t, table.set([]byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []byte{1}))
	table.fillLook()
	r := bitReader{data: []byte{0x80, 0, 0, 0, 0, 0, 0, 0}}
	r.next(&table)
	require.ErrorIs(t, r.err(), errCode)
}

func TestBitsThroughStuffing(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 50 {
		var w writer
		var sizes []uint
		var values []int32
		for range 300 {
			n := uint(1 + r.IntN(16))
			v := r.IntN(1 << n)
			if r.IntN(3) == 0 {
				v = 1<<n - 1 // bytes of 0xff
			}
			w.put(uint(v), n)
			sizes, values = append(sizes, n), append(values, int32(v))
		}
		w.put(0, 7)
		reader := bitReader{data: w.out}
		for i, n := range sizes {
			require.Equal(t, values[i], reader.take(n))
		}
		require.NoError(t, reader.err())
	}
}
