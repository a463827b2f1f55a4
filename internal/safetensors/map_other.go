//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package safetensors

import (
	"errors"
	"os"
)

var errNoMap = errors.New("files cannot be mapped here")

func mapFile(*os.File, int) ([]byte, error) { return nil, errNoMap }

func unmap([]byte) error { return errNoMap }
