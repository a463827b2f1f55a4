package labels

import (
	"crypto/sha256"
	"io"
	"math"
	"os"
	"slices"

	"edgejepa/vit/pixels"
)

// Part is one part of a labelled set: a Classification, Segmentation or Detection.
type Part interface {
	Counts() []int64 // [C], what there is of each class
	pictures() []string
	classes() []string
	unit() string
}

func (c *Classification) pictures() []string { return c.Paths }
func (s *Segmentation) pictures() []string   { return s.Paths }
func (d *Detection) pictures() []string      { return d.Paths }
func (c *Classification) classes() []string  { return c.Classes }
func (s *Segmentation) classes() []string    { return s.Classes }
func (d *Detection) classes() []string       { return d.Classes }
func (c *Classification) unit() string       { return "picture" }
func (s *Segmentation) unit() string         { return "pixel" }
func (d *Detection) unit() string            { return "box" }

// CheckParts reports what makes figures on a part misleading: a class of which train or judge has nothing, and pictures of
// judge that are in train, the same file or a copy under any name. Both parts have the same Classes; judge is to be opened
// with those of train. trainName and judgeName call the parts in the messages.
//
// Only files of equal length are read. The error is of a file that cannot be read, or with Options.Strict of any problem.
func CheckParts(train, judge Part, trainName, judgeName string, o Options) error {
	if !slices.Equal(train.classes(), judge.classes()) {
		panic("labels: CheckParts: the parts have different classes")
	}
	r := &reporter{options: o}
	learnt, judged := train.Counts(), judge.Counts()
	for c, name := range train.classes() {
		for i, n := range []int64{learnt[c], judged[c]} {
			if n == 0 {
				part := []string{trainName, judgeName}[i]
				consequence := []string{"it cannot be learnt", "it is not judged"}[i]
				r.add(part, 0, "no %s of class %s; %s", train.unit(), quote(name), consequence)
			}
		}
	}
	pairs, err := Copies(train.pictures(), judge.pictures())
	if err != nil {
		return err
	}
	for _, p := range pairs {
		r.add(judge.pictures()[p[1]], 0, "is also in %s, as %s; figures on pictures that were trained on are too good", trainName, pixels.Printable(train.pictures()[p[0]]))
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
