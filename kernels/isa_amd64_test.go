//go:build !purego

package kernels

func isaSwitches() []isaSwitch {
	if !useAVX2 {
		return nil
	}
	return []isaSwitch{{"avx2", &useAVX2}}
}
