//go:build !purego

package kernels

func isaSwitches() (s []isaSwitch) {
	if useAVX2 {
		s = append(s, isaSwitch{"avx2", &useAVX2})
	}
	if useAVX512 {
		s = append(s, isaSwitch{"avx512", &useAVX512})
	}
	return s
}
