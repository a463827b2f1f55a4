//go:build !purego

package peak

//go:noescape
func loopAVX2(n int)

//go:noescape
func loopAVX512(n int)

// loopOf returns the loop of a path and its multiply-adds a turn.
func loopOf(isa string) (loop func(n int), macs int) {
	switch isa {
	case "avx2":
		return loopAVX2, 12 * 8
	case "avx512":
		return loopAVX512, 12 * 16
	}
	return nil, 0
}
