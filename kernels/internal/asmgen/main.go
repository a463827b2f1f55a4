// Asmgen prints the vector routines of package kernels as assembly: each is described once, in routines.go, as a list
// of operations on vectors, and printed for AVX2, AVX-512 and NEON. Run it from the kernels folder:
//
//	go run ./internal/asmgen
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// listings maps each file to what prints it.
var listings = map[string]func([]*kernel) ([]byte, error){
	"vector_amd64.s": printAMD64,
	"vector_arm64.s": printARM64,
}

func main() {
	if err := generate("."); err != nil {
		fmt.Fprintln(os.Stderr, "asmgen:", err)
		os.Exit(1)
	}
}

func generate(dir string) error {
	for name, print := range listings {
		text, err := print(routines())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
