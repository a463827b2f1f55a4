package heads

import (
	"edgejepa/vit"
	"edgejepa/vit/pixels"
)

// Input makes the input of an encoder from a picture. To classify, the picture is scaled to cover it and the centre cut out,
// as for embeddings. To segment and detect, the whole picture is scaled to it, each side for itself: every pixel of the
// picture is to have an answer.
func (c Config) Input(dst *pixels.Image, r *pixels.Resizer, src pixels.Image, e vit.Config) {
	if c.Task == Classify {
		pixels.CenterCrop(dst, r, src, e.Width(), e.ImageSize)
		return
	}
	r.Resize(dst, src, src.Bounds(), e.Width(), e.ImageSize, pixels.Bilinear)
}

// MinSide is what pixels.Limits.MinSide should be for a picture that goes through Input: to segment and detect 0, all of it,
// since answers are in its pixels.
func (c Config) MinSide(e vit.Config) int {
	if c.Task == Classify {
		return pixels.Spec{Size: e.ImageSize, Width: e.ImageWidth}.MinSide()
	}
	return 0
}
