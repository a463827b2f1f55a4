package labels

import (
	"crypto/sha256"
	"io"
	"math"
	"os"
	"slices"

	"edgejepa/vit/pixels"
)

// Part is one part of a labelled set, as CheckParts looks at it.
type Part struct {
	Name    string   // as messages call it
	Paths   []string // of its pictures
	Classes []string // [C]
	Counts  []int64  // [C], what there is of each class
	Unit    string   // what is counted: picture, pixel, box
}

// mostCopies is how many copies are named one by one.
const mostCopies = 10

// CheckParts reports what makes figures on a part misleading: a class of which train or judge has nothing, and pictures of
// judge that are in train, the same file or a copy under any name. Both parts have the same Classes; judge is to be opened
// with those of train.
//
// Only files of equal length are read. The error is of a file that cannot be read, or with Options.Strict of any problem.
func CheckParts(train, judge Part, o Options) error {
	if !slices.Equal(train.Classes, judge.Classes) {
		panic("labels: CheckParts: the parts have different classes")
	}
	r := &reporter{options: o}
	for c, class := range train.Classes {
		if train.Counts[c] == 0 {
			r.add(train.Name, 0, "no %s of class %s; it cannot be learnt", train.Unit, quote(class))
		}
		if judge.Counts[c] == 0 {
			r.add(judge.Name, 0, "no %s of class %s; it is not judged", judge.Unit, quote(class))
		}
	}
	pairs, err := Copies(train.Paths, judge.Paths)
	if err != nil {
		return err
	}
	const misleading = "figures on pictures that were trained on are too good"
	for _, p := range pairs[:min(len(pairs), mostCopies)] {
		r.add(judge.Paths[p[1]], 0, "is also in %s, as %s; %s", train.Name, pixels.Printable(train.Paths[p[0]]), misleading)
	}
	if more := len(pairs) - mostCopies; more > 0 {
		r.add(judge.Name, 0, "%d more pictures are also in %s; %s", more, train.Name, misleading)
	}
	return r.done()
}

// Copies returns the pairs (i, j) of files a[i] and b[j] with the same bytes: for each j the least i, in the order of b. Only
// files that share their length with one of the other list are read.
func Copies(a, b []string) ([][2]int, error) {
	lengthsA, err := lengths(a)
	if err != nil {
		return nil, err
	}
	lengthsB, err := lengths(b)
	if err != nil {
		return nil, err
	}
	shared := map[int64]bool{} // by length: whether b has a file of it, too
	for _, n := range lengthsB {
		shared[n] = true
	}
	byContent := map[[sha256.Size]byte]int{}
	present := map[int64]bool{}
	for i, path := range a {
		if !shared[lengthsA[i]] {
			continue
		}
		present[lengthsA[i]] = true
		sum, err := digest(path)
		if err != nil {
			return nil, err
		}
		if _, twice := byContent[sum]; !twice {
			byContent[sum] = i
		}
	}
	var out [][2]int
	for j, path := range b {
		if !present[lengthsB[j]] {
			continue
		}
		sum, err := digest(path)
		if err != nil {
			return nil, err
		}
		if i, ok := byContent[sum]; ok {
			out = append(out, [2]int{i, j})
		}
	}
	return out, nil
}

func lengths(paths []string) ([]int64, error) {
	out := make([]int64, len(paths))
	for i, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, plain(path, err)
		}
		out[i] = info.Size()
	}
	return out, nil
}

func digest(path string) (sum [sha256.Size]byte, err error) {
	f, err := pixels.Open(path, math.MaxInt64)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, plain(path, err)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
