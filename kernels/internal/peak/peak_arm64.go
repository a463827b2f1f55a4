//go:build !purego

package peak

//go:noescape
func loopNEON(n int)

// loopOf returns the loop of a path and its multiply-adds a turn.
func loopOf(isa string) (loop func(n int), macs int) {
	if isa == "neon" || isa == "dotprod" {
		return loopNEON, 16 * 4
	}
	return nil, 0
}
