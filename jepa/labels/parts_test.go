package labels

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckParts(t *testing.T) {
	dir := tree(t, map[string]string{"train/a/1.png": "5x4", "train/b/2.png": "5x4", "train/b/3.png": "6x4", "train/c/4.png": "7x4",
		"val/a/1.png": "5x4", "val/b/new.png": "5x4", "val/b/8.png": "8x4"})
	train, err := OpenClassification([]string{filepath.Join(dir, "train")}, Options{})
	require.NoError(t, err)
	val, err := OpenClassification([]string{filepath.Join(dir, "val")}, Options{Classes: train.Classes})
	require.NoError(t, err)
	o, problems := collect(dir)
	require.NoError(t, CheckParts(train, val, "train", "val", o))
	require.Equal(t, []string{
		`val: no picture of class "c"; it is not judged`,
		"val/a/1.png: is also in train, as train/a/1.png; figures on pictures that were trained on are too good",
	}, problems())
	o.Strict = true
	require.ErrorContains(t, CheckParts(train, val, "train", "val", o), "2 problems")

	o, problems = collect(dir)
	require.NoError(t, CheckParts(val, train, "val", "train", o))
	require.Contains(t, problems(), `val: no picture of class "c"; it cannot be learnt`)

	require.Panics(t, func() {
		_ = CheckParts(train, &Classification{Classes: []string{"x"}}, "train", "val", Options{})
	})
	_, err = Copies([]string{filepath.Join(dir, "none")}, nil)
	require.ErrorContains(t, err, "none: no such file")
}

func TestCopies(t *testing.T) {
	dir := tree(t, map[string]string{"a": "same", "b": "also", "c": "same", "d": "longer", "e": "longer", "f": "sole"})
	at := func(names ...string) (out []string) {
		for _, n := range names {
			out = append(out, filepath.Join(dir, n))
		}
		return out
	}
	got, err := Copies(at("b", "a", "c", "d"), at("f", "e", "a", "c"))
	require.NoError(t, err)
	require.Equal(t, [][2]int{{3, 1}, {1, 2}, {1, 3}}, got)
}

// Every kind of set is a part, and calls what it counts by its name.
func TestPartsOfEveryKind(t *testing.T) {
	boxes := tree(t, map[string]string{"classes.txt": "cat\ndog", "images/a.jpg": "64x32", "labels/a.txt": "0 .5 .5 .5 .5"})
	d, err := OpenDetection(boxes, Options{})
	require.NoError(t, err)
	o, problems := collect(boxes)
	require.NoError(t, CheckParts(d, &Detection{Classes: d.Classes}, "train", "val", o))
	require.Equal(t, []string{`val: no box of class "cat"; it is not judged`, `train: no box of class "dog"; it cannot be learnt`, `val: no box of class "dog"; it is not judged`}, problems())

	masks := tree(t, map[string]string{"images/a.jpg": "2x1", "masks/a.png": grey(t, 0, 0)})
	s, err := OpenSegmentation(masks, Options{})
	require.NoError(t, err)
	o, problems = collect(masks)
	require.NoError(t, CheckParts(s, s, "train", "val", o))
	require.Equal(t, []string{`train: no pixel of class "1"; it cannot be learnt`, `val: no pixel of class "1"; it is not judged`,
		"images/a.jpg: is also in train, as images/a.jpg; figures on pictures that were trained on are too good"}, withoutFolder(problems(), masks))
}
