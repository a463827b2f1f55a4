// Command edge-train pretrains a compact Vision Transformer on a folder of pictures, judges it and exports it.
package main

import (
	"context"
	"os"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
