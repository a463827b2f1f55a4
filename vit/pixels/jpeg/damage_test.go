package jpeg

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every beginning of a file is an error at every size.
func TestTruncated(t *testing.T) {
	var d Decoder
	for _, name := range files(t) {
		data := read(t, name)
		for n := 0; n < len(data); n += 1 + n/97 {
			for _, denominator := range Denominators {
				_, err := decodeWith(&d, slices.Clone(data[:n]), denominator)
				require.Error(t, err, "%s: %d bytes of %d", name, n, len(data))
			}
		}
	}
}

// Damage is an error or a picture of the size in the header, never a panic.
func TestDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var d Decoder
	refused, decoded := 0, 0
	for _, name := range files(t) {
		for range 60 {
			data := read(t, name)
			for range 1 + r.IntN(4) {
				data[r.IntN(len(data))] = byte(r.Uint32())
			}
			h, err := ReadHeader(data)
			if err != nil || h.W*h.H > 1<<20 || h.Scans > 64 {
				continue
			}
			if _, err := decodeWith(&d, data, Denominators[r.IntN(4)]); err != nil {
				refused++
			} else {
				decoded++
			}
		}
	}
	require.Greater(t, refused, 100)
	require.Greater(t, decoded, 100)
}

// change returns a file with the first occurrence of some bytes replaced by others.
func change(t *testing.T, data []byte, old, new string) []byte {
	require.Contains(t, string(data), old)
	return bytes.Replace(data, []byte(old), []byte(new), 1)
}

// without returns a file without its segments of a kind.
func without(t *testing.T, data []byte, marker byte) []byte {
	out := data[:2:2]
	for at := 2; ; {
		m, next, err := nextMarker(data, at)
		require.NoError(t, err)
		segment, err := segmentAt(data, next)
		require.NoError(t, err)
		if m == markerSOS {
			return append(out, data[at:]...)
		}
		at = next + 2 + len(segment)
		if m != marker {
			out = append(out, data[next-2:at]...)
		}
	}
}

func TestErrors(t *testing.T) {
	gray, colour, restart := read(t, "gray"), read(t, "420"), read(t, "restart")
	first := bytes.Index(gray, []byte{0xff, markerSOS})
	last := bytes.LastIndex(read(t, "scans_420"), []byte{0xff, markerSOS})
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"arithmetic", "unsupported: arithmetic coding", change(t, gray, "\xff\xc0", "\xff\xc9")},
		{"arithmetic progressive", "unsupported: arithmetic coding", change(t, gray, "\xff\xc0", "\xff\xca")},
		{"lossless", "unsupported: lossless coding", change(t, gray, "\xff\xc0", "\xff\xc3")},
		{"hierarchical", "unsupported: hierarchical coding", change(t, gray, "\xff\xc0", "\xff\xc5")},
		{"12 bits", "unsupported: 12 bits a sample", change(t, gray, "\xff\xc0\x00\x0b\x08", "\xff\xc0\x00\x0b\x0c")},
		{"height", "height is given after the pixels", change(t, gray, "\x08\x00\x38\x00\x48", "\x08\x00\x00\x00\x48")},
		{"width", "width is zero", change(t, gray, "\x08\x00\x38\x00\x48", "\x08\x00\x38\x00\x00")},
		{"components", "unsupported: 2 components", change(t, colour, "\x08\x00\x32\x00\x46\x03", "\x08\x00\x32\x00\x46\x02")},
		{"factors", "a sampling factor of 5x2", change(t, colour, "\x03\x01\x22", "\x03\x01\x52")},
		{"no factors", "a sampling factor of 0x2", change(t, colour, "\x03\x01\x22", "\x03\x01\x02")},
		{"blocks", "18 blocks in an MCU", change(t, colour, "\x03\x01\x22", "\x03\x01\x44")},
		{"names", "two components of one name", change(t, colour, "\x03\x01\x22\x00\x02", "\x03\x01\x22\x00\x01")},
		{"unknown component", "unknown component", change(t, colour, "\xda\x00\x0c\x03\x01", "\xda\x00\x0c\x03\x09")},
		{"twice", "one component twice", change(t, colour, "\xda\x00\x0c\x03\x01\x00\x02", "\xda\x00\x0c\x03\x01\x00\x01")},
		{"two frames", "two frame headers", append(gray[:len(gray)-2:len(gray)-2], "\xff\xc0\x00\x0b\x08\x00\x38\x00\x48\x01\x01\x11\x00\xff\xd9"...)},
		{"no frame", "unexpected EOF", []byte("\xff\xd8\xff\xd9")},
		{"no scan", "unexpected EOF", append(gray[:first:first], 0xff, markerEOI)},
		{"no start", "no start marker", gray[2:]},
		{"no quantisation", "a quantisation table is missing", without(t, gray, markerDQT)},
		{"no Huffman", "a Huffman table is missing", without(t, gray, markerDHT)},
		{"short segment", "shorter than its header", change(t, gray, "\xff\xdb\x00\x43", "\xff\xdb\x00\x01")},
		{"codes", "too many codes", change(t, read(t, "440"), "\x00\x00\x00\x00\x0c\x00", "\x00\x00\x00\x08\x04\x00")},
		{"differences", "differences of over 15 bits", change(t, read(t, "440"), "\x09\x0a\x0b", "\x09\x0a\x10")},
		{"restart", "restart marker is missing", change(t, restart, "\xff\xd1", "\xff\xd3")},
		{"restart too soon", "coded pixels end too early", change(t, restart, "\xff\xdd\x00\x04\x00\x05", "\xff\xdd\x00\x04\x00\x04")},
		{"end amid", "restart marker is missing", change(t, restart, "\xff\xd1", "\xff\xd9")},
		{"band", "a scan of the coefficients 1 to 64", change(t, read(t, "gray_progressive"), "\x01\x05\x02", "\x01\x40\x02")},
		{"precision", "a scan from bit 4 to bit 2", change(t, read(t, "gray_progressive"), "\x01\x05\x02", "\x01\x05\x42")},
		{"Adobe", "four components without Adobe's marker", without(t, read(t, "cmyk"), markerAPP14)},
		{"missing component", "a component has no scan", append(read(t, "scans_420")[:last:last], 0xff, markerEOI)},
		{"unknown marker", "unknown marker 0xf3", change(t, gray, "\xff\xdb", "\xff\xf3\x00\x02\xff\xdb")},
	} {
		_, err := decodeWith(new(Decoder), c.data, 2)
		require.ErrorContains(t, err, c.want, c.name)
	}
}

// Bytes before a marker that belong to nothing are passed over, as is what follows the end.
func TestTolerated(t *testing.T) {
	want := decode(t, read(t, "restart"), 1)
	for _, c := range [][2]string{
		{"\xff\xdb", "\xff\xff\xff\xdb"}, {"\xff\xdb", "\x12\x34\xff\xdb"}, {"\xff\xdb", "\xff\x00\xff\xdb"},
		{"\xff\xd1", "\xff\xff\xd1"}, {"\xff\xd1", "\x55\xff\xd1"}, {"\xff\xd9", "\xff\xd5\xff\xd9more"},
	} {
		require.Equal(t, want, decode(t, change(t, read(t, "restart"), c[0], c[1]), 1), "%q", c)
	}
}

// Scans that a reduced picture does not need are not decoded: damage there does no harm, and at full size it does.
func TestScansPassedOver(t *testing.T) {
	data := read(t, "gray_progressive")
	want := decode(t, data, 8)
	at := bytes.LastIndex(data, []byte{0xff, markerSOS}) + 12
	data = append(data[:at:at], 0xff, markerEOI)
	require.Equal(t, want, decode(t, data, 8))
	_, err := decodeWith(new(Decoder), data, 1)
	require.ErrorIs(t, err, errShort)
}

func FuzzDecode(f *testing.F) {
	for _, name := range files(f) {
		f.Add(read(f, name), uint8(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		h, err := ReadHeader(data)
		if err != nil {
			return
		}
		n := Denominators[size&3]
		if h.Scans > 8 || h.Bytes(n) > 1<<20 || h.W*h.H > 1<<18 {
			return
		}
		var d Decoder
		rows := 0
		err = d.Decode(h, n, func(y int, rgb []uint8) { rows++ })
		if d.held() > h.Bytes(n) {
			t.Fatalf("%d bytes held, %d foretold", d.held(), h.Bytes(n))
		}
		if _, height := h.Size(n); err == nil && rows != height || rows > height {
			t.Fatalf("%d rows of %d, error %v", rows, height, err)
		}
	})
}
