//go:build !purego

package kernels

func isaSwitches() (s []isaSwitch) {
	for _, w := range []isaSwitch{
		{"avx2", &useAVX2}, {"avxvnni", &useAVXVNNI}, {"avx512", &useAVX512}, {"avx512vnni", &useAVX512VNNI},
	} {
		if *w.on {
			s = append(s, w)
		}
	}
	return s
}
