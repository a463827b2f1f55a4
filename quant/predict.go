package quant

import (
	"edgejepa/internal/parallel"
	"edgejepa/vit/heads"
)

// Predictor runs a head behind an encoder: pictures in, raw outputs out, which the head's methods Probabilities, ClassMap and
// Decode make answers of. One goroutine uses it at a time.
type Predictor struct {
	head     *heads.Head
	encoder  Embedder
	pass     *heads.Pass
	features []float32
	most     int // pictures at a time
}

// passBytes is how much the features and activations of the pictures that go through a head at a time take, if one does not
// take more.
const passBytes = 32 << 20

// NewPredictor allocates what a head takes behind an encoder, on batches of up to batch pictures. Larger batches work too.
func NewPredictor(encoder Embedder, head *heads.Head, pool *parallel.Pool, batch int) *Predictor {
	most := headBatch(head, batch)
	return &Predictor{head: head, encoder: encoder, pass: head.NewPass(pool, most), most: most,
		features: make([]float32, most*head.Config.InLen(head.Encoder))}
}

// headBatch is how many of batch pictures go through a head at a time.
func headBatch(head *heads.Head, batch int) int {
	c := head.Config
	each := 2*c.InLen(head.Encoder) + 2*head.OutLen() + 12*head.Encoder.Tokens()*c.Hidden
	return min(max(passBytes/4/each, 1), max(batch, 1))
}

// NewPredictor is NewPredictor for a model that has a head.
func (m *Model) NewPredictor(pool *parallel.Pool, batch int) *Predictor {
	if m.head == nil {
		panic("quant: NewPredictor: the model has no head")
	}
	return NewPredictor(m.NewEmbedder(pool, headBatch(m.head, batch)), m.head, pool, batch)
}

// Predict fills dst [B, OutLen] with the outputs for pictures pix [B, H, W, 3] as heads.Config.Input leaves them.
func (p *Predictor) Predict(dst []float32, pix []uint8, batch int) {
	c, e, n := p.head.Config, p.head.Encoder, p.head.OutLen()
	for b := 0; b < batch; b += p.most {
		m, from := min(p.most, batch-b), pix[b*e.PixelLen():]
		if c.Pooled() {
			p.encoder.Embed(p.features, from, m)
		} else {
			p.encoder.Features(p.features, from, c.Taps, m)
		}
		copy(dst[b*n:], p.pass.Forward(p.features, m))
	}
}
