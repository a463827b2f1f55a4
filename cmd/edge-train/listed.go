package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/vit/pixels"
)

// A run keeps the list of the pictures that it began with, because folders change: a camera adds to its own every night, and
// a run that power cuts off is to go on with what it had. New pictures are for a new run; one that has gone is passed over
// like one that cannot be read.
//
// The file has the number of a root, a colon, the path below it with slashes and a NUL for each picture: names may have any
// other byte.

// below splits a path into the number of its root, the first that it begins with, and the rest.
func below(path string, roots []string) (root int, rest string) {
	for i, r := range roots {
		if rest, ok := strings.CutPrefix(path, r); ok {
			return i, strings.TrimLeft(filepath.ToSlash(rest), "/")
		}
	}
	return len(roots), path
}

// namesHash is a fingerprint of the pictures' paths, each without the root it was found under, so that a folder may move.
func namesHash(paths, roots []string) string {
	h := sha256.New()
	for _, p := range paths {
		_, rest := below(p, roots)
		io.WriteString(h, rest)
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// writeList keeps the list of a run.
func writeList(dir string, paths, roots []string) error {
	return durable.WriteFile(filepath.Join(dir, listFile), 0o644, func(w io.Writer) error { return formatList(w, paths, roots) })
}

func formatList(w io.Writer, paths, roots []string) error {
	for _, p := range paths {
		root, rest := below(p, roots)
		if _, err := fmt.Fprintf(w, "%d:%s\x00", root, rest); err != nil {
			return err
		}
	}
	return nil
}

// mostEntry bounds an entry of a list: no system has longer paths.
const mostEntry = 64 << 10

// parseList reads what formatList writes, nil if it is something else.
func parseList(from io.Reader, roots []string) (paths []string) {
	r := bufio.NewReaderSize(from, mostEntry)
	for {
		entry, err := r.ReadSlice(0)
		if err == io.EOF && len(entry) == 0 {
			return paths
		}
		number, rest, _ := strings.Cut(strings.TrimSuffix(string(entry), "\x00"), ":")
		root, badNumber := strconv.Atoi(number)
		if err != nil || badNumber != nil || root < 0 || root >= len(roots) {
			return nil
		}
		path := roots[root]
		if rest != "" {
			path = strings.TrimSuffix(path, string(filepath.Separator)) + string(filepath.Separator) + filepath.FromSlash(rest)
		}
		paths = append(paths, path)
	}
}

// readList returns the pictures of a run below roots, which may have moved since: a few are looked for. It returns
// nil where the run has no list that its configuration agrees with.
func readList(dir string, roots []string, rc runConfig) ([]string, error) {
	f, err := pixels.Open(filepath.Join(dir, listFile), math.MaxInt64)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if len(roots) != len(rc.Paths) {
		return nil, cli.Usagef("--resume: the run began with %d folders, now there are %d: leave them out, or give each where it is now", len(rc.Paths), len(roots))
	}
	paths := parseList(f, roots)
	if len(paths) == 0 || len(paths) != rc.Pictures || namesHash(paths, roots) != rc.Names {
		return nil, nil
	}
	for i := range soughtPictures {
		if _, err := os.Stat(paths[i*len(paths)/soughtPictures]); err == nil {
			return paths, nil
		}
	}
	return nil, cli.Usagef("--resume: none of the run's pictures is under %s: is a disk missing? If they have moved, name the folder where they are", strings.Join(roots, ", "))
}

// soughtPictures is how many of a list are looked for, to notice that all are gone.
const soughtPictures = 32
