// Package fp holds what is done to numbers bit by bit: halves, the storage format with 16 bits, and elementary functions
// that give the same bits on every machine. Halves are converted by F16C on amd64 and by Advanced SIMD on arm64 where
// package cpu has them, and otherwise in Go; the three agree in every bit, NaNs included.
package fp
