package heads

import (
	"fmt"
	"strings"

	"edgejepa/internal/arena"
	"edgejepa/internal/safetensors"
	"edgejepa/vit"
)

// Load builds the head that a model file holds beside an encoder of configuration e, packed and ready for inference; nil if
// it holds none. What no export would have written is refused: a configuration that is none, tensors that
// are missing, unknown, of another shape or type (a *vit.ShapeError), and numbers that are not finite.
func Load(f *safetensors.File, e vit.Config) (*Head, error) {
	text, ok := f.Metadata[vit.HeadKey]
	if !ok {
		bad := &vit.ShapeError{Path: f.Path}
		for _, t := range f.Tensors {
			if strings.HasPrefix(t.Name, vit.HeadPrefix) {
				bad.Unknown = append(bad.Unknown, t.Name)
			}
		}
		if len(bad.Unknown) > 0 {
			return nil, bad
		}
		return nil, nil
	}
	c, err := ParseConfig(text, e)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	// The configuration is a claim: its memory is set aside once the file is seen to fill it.
	var measured arena.Arena
	if err := Place(&measured, c, e, false).Params.Compare(f, vit.HeadPrefix); err != nil {
		return nil, err
	}
	if err := f.CheckFinite(); err != nil {
		return nil, err
	}
	h, err := New(c, e)
	if err != nil {
		return nil, err
	}
	if err := h.Params.Assign(f, vit.HeadPrefix); err != nil {
		return nil, err
	}
	h.Pack()
	return h, nil
}

// Tensors lists the head's parameters for a file. They share memory with the head.
func (h *Head) Tensors() []safetensors.Tensor { return h.Params.Tensors(vit.HeadPrefix) }
