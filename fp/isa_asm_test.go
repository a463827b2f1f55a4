//go:build (amd64 || arm64) && !purego

package fp

// setVector switches the vector path on or off and returns what it was.
func setVector(on bool) (was bool) {
	was, useVector = useVector, on
	return was
}
