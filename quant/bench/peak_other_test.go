//go:build !unix

package bench

import "os"

// peakBytes is the most memory that a process had resident: unknown here.
func peakBytes(*os.ProcessState) int64 { return 0 }
