//go:build !purego

package kernels

func isaSwitches() (s []isaSwitch) {
	if useNEON {
		s = append(s, isaSwitch{"neon", &useNEON})
	}
	if useDotProd {
		s = append(s, isaSwitch{"dotprod", &useDotProd})
	}
	if useI8MM {
		s = append(s, isaSwitch{"i8mm", &useI8MM})
	}
	return s
}
