package labels

import (
	"fmt"
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
	part := func(name string, c *Classification) Part {
		return Part{name, c.Paths, c.Classes, c.Counts(), "picture"}
	}
	require.NoError(t, CheckParts(part("train", train), part("val", val), o))
	require.Equal(t, []string{
		`val: no picture of class "c"; it is not judged`,
		"val/a/1.png: is also in train, as train/a/1.png; figures on pictures that were trained on are too good",
	}, problems())
	o.Strict = true
	require.ErrorContains(t, CheckParts(part("train", train), part("val", val), o), "2 problems")

	o, problems = collect(dir)
	require.NoError(t, CheckParts(part("val", val), part("train", train), o))
	require.Contains(t, problems(), `val: no picture of class "c"; it cannot be learnt`)

	require.Panics(t, func() {
		_ = CheckParts(part("train", train), Part{Name: "val", Classes: []string{"x"}}, Options{})
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

// A part that is in the other as a whole is not told line by line.
func TestManyCopies(t *testing.T) {
	files := map[string]string{"b/x.png": "5x5"}
	for i := range 12 {
		files[fmt.Sprintf("a/%02d.png", i)] = fmt.Sprintf("%dx4", i+1)
	}
	dir := tree(t, files)
	c, err := OpenClassification([]string{dir}, Options{})
	require.NoError(t, err)
	o, problems := collect(dir)
	part := Part{"train", c.Paths, c.Classes, c.Counts(), "picture"}
	require.NoError(t, CheckParts(part, part, o))
	got := problems()
	require.Len(t, got, 11)
	require.Contains(t, got[9], "09.png: is also in train")
	require.Contains(t, got[10], "3 more pictures are also in train")
}
