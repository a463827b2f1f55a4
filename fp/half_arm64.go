//go:build !purego

package fp

import "edgejepa/internal/cpu"

// useVector: the conversions belong to ARMv8.0. Tests flip it; nothing else writes it after init.
var useVector = cpu.HasNEON
