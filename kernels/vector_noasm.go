//go:build purego || !(amd64 || arm64)

package kernels

// Each vector routine works on a prefix of its slices and returns that prefix's length, or says whether it did the
// work; here there are none.

func geluVector(dst, x []float32) int                            { return 0 }
func geluGradVector(dx, dy, x []float32) int                     { return 0 }
func addVector(dst, src []float32) int                           { return 0 }
func scaleVector(x []float32, s float32) int                     { return 0 }
func lerpVector(dst, src []float32, m, m1 float32) int           { return 0 }
func sumSquaresVector(l *lanes64, x []float32) int               { return 0 }
func addColumnSumsVector(dst, x []float32, rows, stride int) int { return 0 }
func layerNormVector(dst, x, gain, bias, mean, rstd []float32, rows, cols int, eps float32) bool {
	return false
}
func addLayerNormGradVector(dx, dy, x, gain, mean, rstd []float32, rows, cols int) bool     { return false }
func addLayerNormParamGradVector(dgain, dbias, dy, x, mean, rstd []float32, stride int) int { return 0 }
func maxScaledVector(l *lanes, x []float32, scale float32) int                              { return 0 }
func smoothL1Vector(l *lanes64, d, pred, target []float32, scale float32) int               { return 0 }
func squaredErrorVector(l *lanes64, d, pred, target []float32, scale2 float32) int          { return 0 }
func adamwVector(p, g, m, v []float32, s *adamw) int                                        { return 0 }
func adamwEMAVector(p, g, m, v, target []float32, s *adamw) int                             { return 0 }
