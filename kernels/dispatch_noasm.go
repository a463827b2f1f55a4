//go:build purego || !(amd64 || arm64)

package kernels

func tileF32(t *tile) { tileF32Generic(t) }

func tileTakesPanels() bool { return false }

func tileMasks() bool { return false }
