//go:build purego || !(amd64 || arm64)

package peak

const (
	clockChain = 0
	floatChain = 0
)

var clockLoop func(turns int)

func floatLoop() func(turns int) { return nil }

func loops() []Loop { return nil }
