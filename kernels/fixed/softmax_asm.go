//go:build (amd64 || arm64) && !purego

package fixed

import "edgejepa/internal/cpu"

// softmaxLeast is the shortest row of softmaxI8Row: the 32 scores of one turn of the AVX2 loop.
const softmaxLeast = 32

// softmaxI8Row is softmaxI8Generic on a row of n >= softmaxLeast scores.
//
//go:noescape
func softmaxI8Row(p *int8, scores *int32, n int, s *Softmax) (sum int32)

func softmaxI8Vector(p []int8, ldp int, sum, scores []int32, lds, rows, cols int, s *Softmax) bool {
	if !cpu.HasAVX2FMA && !cpu.HasNEON {
		return false
	}
	for i := range rows {
		if cols < softmaxLeast {
			sum[i] = softmaxI8Short(p[i*ldp:i*ldp+cols], scores[i*lds:i*lds+cols], s)
		} else {
			sum[i] = softmaxI8Row(&p[i*ldp], &scores[i*lds], cols, s)
		}
	}
	return true
}

// softmaxI8Short fills a short row up with its first score, and takes the weights of those away again.
func softmaxI8Short(p []int8, scores []int32, s *Softmax) int32 {
	var x [softmaxLeast]int32
	var w [softmaxLeast]int8
	n := copy(x[:], scores)
	for i := n; i < len(x); i++ {
		x[i] = x[0]
	}
	sum := softmaxI8Row(&w[0], &x[0], len(x), s)
	copy(p, w[:n])
	return sum - int32(len(x)-n)*int32(int16(w[0])+s.zero)
}
