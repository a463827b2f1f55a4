package vit

import "fmt"

// Precision is what the products of a trunk's passes compute with, and how activations wait for the backward pass. In all
// of them weights and their gradients are float32, and attention, norms, GELU and sums are computed in it; so are patch
// embedding and the projections into and out of a predictor.
type Precision byte

const (
	F32 Precision = iota // float32 throughout: the reference
	F16                  // what waits for the backward pass are halves, and a block's input is rounded to them
	I8                   // as F16; besides, products of linear layers have int8 operands: forward all, backward wide ones
)

var precisions = [...]string{F32: "f32", F16: "f16", I8: "int8"}

func (p Precision) String() string { return precisions[p] }

// ParsePrecision reads "f32", "f16" or "int8".
func ParsePrecision(name string) (Precision, error) {
	for p, n := range precisions {
		if n == name {
			return Precision(p), nil
		}
	}
	return 0, fmt.Errorf("no precision %q: choose one of f32, f16, int8", name)
}

// MarshalText is the name, as configurations hold it.
func (p Precision) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is ParsePrecision.
func (p *Precision) UnmarshalText(name []byte) (err error) {
	*p, err = ParsePrecision(string(name))
	return err
}
