//go:build !purego

package fp

import "edgejepa/internal/cpu"

// useVector: F16C belongs to the rung of AVX2. Tests flip it; nothing else writes it after init.
var useVector = cpu.HasAVX2FMA
