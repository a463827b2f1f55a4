//go:build (amd64 || arm64) && !purego

package kernels

// softmaxLeast is the shortest row of softmaxI8Row: one turn of its loop.
func softmaxLeast() int {
	if useAVX2 {
		return 32
	}
	return 16
}

// softmaxI8Row is softmaxI8Generic on a row of n >= softmaxLeast() scores.
//
//go:noescape
func softmaxI8Row(p *int8, scores *int32, n int, s *IntSoftmax) (sum int32)

func softmaxI8Vector(p []int8, ldp int, sum, scores []int32, lds, rows, cols int, s *IntSoftmax) bool {
	if !(useAVX2 || useNEON) || cols < softmaxLeast() {
		return false
	}
	for i := range rows {
		sum[i] = softmaxI8Row(&p[i*ldp], &scores[i*lds], cols, s)
	}
	return true
}
