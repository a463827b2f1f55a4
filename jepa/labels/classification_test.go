package labels

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFolders(t *testing.T) {
	dir := tree(t, map[string]string{"dog/1.png": "3x2", "cat/2.png": "3x2", "cat/deep/3.png": "3x2", "ant/4.png": "3x2", "ant/notes.txt": "none", "ant/5.jpg": "raw:no picture"})
	o, problems := collect(dir)
	c, err := OpenClassification([]string{dir}, o)
	require.NoError(t, err)
	require.Equal(t, []string{"ant", "cat", "dog"}, c.Classes)
	require.Equal(t, []int{0, 1, 1, 2}, c.Labels)
	require.Equal(t, []string{"ant/4.png", "cat/2.png", "cat/deep/3.png", "dog/1.png"}, relative(dir, c.Paths))
	require.Equal(t, []int64{1, 2, 1}, c.Counts())
	require.Equal(t, []string{"ant/5.jpg: not a picture: unknown format; skipped"}, problems())

	_, err = OpenClassification([]string{dir}, Options{Strict: true})
	require.ErrorContains(t, err, "ant/5.jpg: not a picture")

	// By the classes of another part: numbers stay, others are named.
	o, problems = collect(dir)
	o.Classes = []string{"dog", "bee", "cat"}
	c, err = OpenClassification([]string{dir}, o)
	require.NoError(t, err)
	require.Equal(t, []int{2, 2, 0}, c.Labels)
	require.Equal(t, o.Classes, c.Classes)
	require.Equal(t, []int64{1, 0, 2}, c.Counts())
	require.Equal(t, `ant/4.png: class "ant" is not among the 3 classes to be told apart; the picture is skipped`, problems()[0])

	_, err = OpenClassification([]string{filepath.Join(dir, "dog")}, Options{})
	require.ErrorContains(t, err, "lies in no class folder")
	_, err = OpenClassification([]string{filepath.Join(dir, "none")}, Options{})
	require.ErrorContains(t, err, "none")
	put(t, filepath.Join(dir, "one", "only", "1.png"), "3x2")
	_, err = OpenClassification([]string{filepath.Join(dir, "one")}, Options{})
	require.ErrorContains(t, err, `all pictures in `)
	_, err = OpenClassification([]string{t.TempDir()}, Options{})
	require.ErrorContains(t, err, "no labelled pictures")
}

func TestFoldersOfParts(t *testing.T) {
	dir := tree(t, map[string]string{"train/a/1.png": "3x2", "train/b/2.png": "3x2", "test/a/3.png": "3x2", "test/b/4.png": "3x2"})
	c, err := OpenClassification([]string{dir}, Options{Split: "test"})
	require.NoError(t, err)
	require.Equal(t, []string{"test/a/3.png", "test/b/4.png"}, relative(dir, c.Paths))
	_, err = OpenClassification([]string{dir}, Options{Split: "val"})
	require.ErrorContains(t, err, `there is no part "val"`)

	// Two folders with the same classes are one set.
	c, err = OpenClassification([]string{filepath.Join(dir, "train"), filepath.Join(dir, "test")}, Options{})
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 0, 1}, c.Labels)
}

func TestCSV(t *testing.T) {
	const pictures = "3x2"
	files := map[string]string{"p/a.png": pictures, "p/b, c.png": pictures, "q/d.png": pictures, "q/e.png": pictures, "q/f.png": pictures, "text.png": "raw:hello"}
	for name, c := range map[string]struct {
		csv      string
		split    string
		paths    []string
		labels   []int
		classes  []string
		problems []string
	}{
		"plain": {csv: "p/a.png,dog\n\"p/b, c.png\",\"a \"\"big\"\" cat\"\nq/d.png, dog \n",
			paths: []string{"p/a.png", "p/b, c.png", "q/d.png"}, labels: []int{1, 0, 1}, classes: []string{`a "big" cat`, "dog"}},
		"header in another order": {csv: "\ufeffLabel,note,File\ndog,x,p/a.png\ncat,y,q/d.png\n",
			paths: []string{"p/a.png", "q/d.png"}, labels: []int{1, 0}, classes: []string{"cat", "dog"}},
		"semicolons and CRLF": {csv: "file;label\r\np/a.png;1\r\nq/d.png;0\r\n",
			paths: []string{"p/a.png", "q/d.png"}, labels: []int{1, 0}, classes: []string{"0", "1"}},
		"tabs": {csv: "p/a.png\tx\nq/d.png\ty", paths: []string{"p/a.png", "q/d.png"}, labels: []int{0, 1}, classes: []string{"x", "y"}},
		"split": {csv: "path,class,split\np/a.png,x,train\nq/d.png,y,val\nq/e.png,x,val\n", split: "val",
			paths: []string{"q/d.png", "q/e.png"}, labels: []int{1, 0}, classes: []string{"x", "y"}},
		"broken": {
			csv: "p/a.png,x\n" + // 1
				"q/d.png\n" + // 2: no label
				"q/e.png,\n" + // 3: empty label
				",x\n" + // 4: no file
				"p/none.png,x\n" + // 5: missing
				"text.png,x\n" + // 6: no picture
				"p,x\n" + // 7: a folder
				"p/a.png,x\n" + // 8: twice
				"\"q/f.png\"x,y\n" + // 9: a quote inside
				"q/d.png,y\n" + // 10
				"q/e.png,y\n" + // 11
				"./q/e.png,x\n" + // 12: of two classes
				"\"unclosed,y\n", // 13
			paths: []string{"p/a.png", "q/d.png"}, labels: []int{0, 1}, classes: []string{"x", "y"},
			problems: []string{
				"l.csv:2: 1 fields where there should be a file and a label; skipped",
				`l.csv:3: "q/e.png" has no label; skipped`,
				"l.csv:4: names no file; skipped",
				"l.csv:5: p/none.png: no such file or directory; skipped",
				"l.csv:6: text.png: not a picture: unknown format; skipped",
				"l.csv:7: p: is a folder, not a picture; skipped",
				"l.csv:8: p/a.png is listed already in line 1; skipped",
				`l.csv:9: extraneous or missing " in quoted-field; skipped`,
				`l.csv:12: q/e.png is of class "x" here and of class "y" in line 11; the picture is skipped`,
				`l.csv:13: extraneous or missing " in quoted-field; skipped`,
			}},
	} {
		dir := tree(t, files)
		list := filepath.Join(dir, "l.csv")
		put(t, list, c.csv)
		o, problems := collect(dir)
		o.Split = c.split
		got, err := OpenClassification([]string{list}, o)
		require.NoError(t, err, name)
		require.Equal(t, c.paths, relative(dir, got.Paths), name)
		require.Equal(t, c.labels, got.Labels, name)
		require.Equal(t, c.classes, got.Classes, name)
		require.Equal(t, c.problems, problems(), name)
		o.Strict = true
		_, err = OpenClassification([]string{list}, o)
		require.Equal(t, c.problems == nil, err == nil, name)
	}
	dir := tree(t, files)
	put(t, filepath.Join(dir, "l.csv"), "p/a.png,x\nq/d.png,y\n")
	_, err := OpenClassification([]string{filepath.Join(dir, "l.csv")}, Options{Split: "val"})
	require.ErrorContains(t, err, "no column split")
	put(t, filepath.Join(dir, "l.csv"), "p/z.png,x\nq/z.png,y\n")
	_, err = OpenClassification([]string{filepath.Join(dir, "l.csv")}, Options{})
	require.ErrorContains(t, err, "the first of 2 problems: ")
	require.ErrorContains(t, err, "l.csv:1: ")
}

func TestBalanced(t *testing.T) {
	// scikit-learn: compute_class_weight("balanced", y of 10, 30, 60).
	require.InDeltaSlice(t, []float64{100.0 / 30, 100.0 / 90, 100.0 / 180}, Balanced([]int64{10, 30, 60}), 1e-15)
	require.Equal(t, []float64{1, 0, 1}, Balanced([]int64{5, 0, 5}))
	require.Equal(t, []float64{0}, Balanced([]int64{0}))
}

func TestQuote(t *testing.T) {
	require.Equal(t, `"a\nb"`, quote("a\nb"))
	require.Less(t, len(quote(string(make([]byte, 1e6)))), 300)
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("file,label,split\na.png,\"x \"\"y\"\"\",train\n"))
	f.Add([]byte("\ufeffa;b\r\n\"c\nd\";e\r\n,,,\n\"unclosed"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := bytes.Count(data, []byte("\n")) + 1
		r := &reporter{options: Options{OnProblem: func(p *Problem) { require.True(t, p.Line >= 1 && p.Line <= lines, p) }}}
		last := 0
		r.readCSV(bytes.NewReader(data), "f.csv", func(row labelRow) {
			require.NotEmpty(t, row.file)
			require.NotEmpty(t, row.label)
			require.True(t, row.line > last && row.line <= lines, "line %d after %d of %d", row.line, last, lines)
			last = row.line
		})
	})
}
