package quant

import (
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
	"edgejepa/vit"
)

// TestStrips has more tokens than a strip, and a last strip of less than four: a picture on one worker and split between
// some, alone and with others, is the same to the bit on every path. The stored vectors have fewer tokens.
func TestStrips(t *testing.T) {
	c := vit.Config{ImageSize: 49, PatchSize: 7, Channels: 3, Dim: 20, Depth: 2, Heads: 5, MLPRatio: 2.5, NormEps: 1e-6,
		Mean: vit.ImageNetMean, Std: vit.ImageNetStd, Pool: "mean"}
	require.NoError(t, c.Validate())
	require.Equal(t, strip+1, c.Tokens())
	q := calibrated(t, randomised(t, c), 2)
	pix := pictures(c, 5)
	want := hashed(embed(q, 1, 1, pix, 5))
	pix[0] ^= 128
	require.NotEqual(t, want, hashed(embed(q, 1, 1, pix, 5)), "one bit of one pixel")
	pix[0] ^= 128
	kerneltest.ForEachISA(t, func(t *testing.T) {
		for _, l := range q.linears() {
			require.NoError(t, l.pack())
		}
		for _, threads := range []int{1, 2, 3, 7} {
			for _, batch := range []int{1, 2, 5} {
				require.Equal(t, want, hashed(embed(q, threads, batch, pix, 5)), "%d threads, batches of %d", threads, batch)
			}
		}
	})
}
