// Command edge-embed turns pictures into vectors with an encoder that edge-train exported. It links no training code.
package main

import (
	"context"
	"os"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
