//go:build purego || !(amd64 || arm64)

package fp

func setVector(bool) (was bool) { return false }
