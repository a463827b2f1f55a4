//go:build purego || !(amd64 || arm64)

package fp

func encodeHalfVector(dst []uint16, src []float32) int { return 0 }
func decodeHalfVector(dst []float32, src []uint16) int { return 0 }
