package pixels

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	aPicture = []byte("\x89PNG\r\n\x1a\n and the rest")
	aHEIC    = []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")
)

// plant makes files in a new folder and returns its path. A name that ends in "->target" is a link.
func plant(t *testing.T, files map[string][]byte) string {
	root := t.TempDir()
	for name, data := range files {
		name, target, link := strings.Cut(name, "->")
		path := filepath.Join(root, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if link {
			if err := os.Symlink(filepath.FromSlash(target), path); err != nil {
				t.Skip("no links here:", err)
			}
			continue
		}
		require.NoError(t, os.WriteFile(path, data, 0o644))
	}
	return root
}

// walk returns the pictures and the errors of a walk, with root cut off.
func walk(root string, paths ...string) (found, skipped []string) {
	for path, err := range Walk(paths, nil) {
		if err != nil {
			skipped = append(skipped, strings.ReplaceAll(filepath.ToSlash(err.Error()), filepath.ToSlash(root)+"/", ""))
		} else {
			found = append(found, strings.TrimPrefix(filepath.ToSlash(path), filepath.ToSlash(root)+"/"))
		}
	}
	return found, skipped
}

func TestWalkOrderAndChoice(t *testing.T) {
	root := plant(t, map[string][]byte{
		"b.png": aPicture, "a/z.jpg": aPicture, "a/deep/er/x": aPicture, "a-b/1.png": aPicture, "a.png": aPicture, "B.png": aPicture,
		"notes.txt": []byte("hello"), "empty.txt": nil, "film.mp4": []byte("\x00\x00\x00\x18ftypisom"),
		"wrong.jpg": []byte("<html>"), "empty.png": nil, "phone": aHEIC, "scan.nef": []byte("II*\x00\x08\x00\x00\x00"),
		".hidden.png": aPicture, ".git/x.png": aPicture, "@eaDir/x.png": aPicture, "a/node_modules/x.png": aPicture, ".DS_Store": nil,
	})
	found, skipped := walk(root, root)
	require.Equal(t, []string{"B.png", "a-b/1.png", "a.png", "a/deep/er/x", "a/z.jpg", "b.png"}, found)
	require.Equal(t, []string{
		"empty.png: not a picture: the file is empty",
		"phone: unsupported: HEIC (convert it first)",
		"scan.nef: unsupported: camera RAW (convert it first)",
		"wrong.jpg: not a picture: HTML",
	}, skipped)

	var others int64
	for range Walk([]string{root, filepath.Join(root, "notes.txt")}, &others) {
	}
	require.EqualValues(t, 3, others, "notes.txt, empty.txt, film.mp4; what is named is reported instead")

	// Arguments keep their order; what is named is visited and reported whatever its name.
	found, skipped = walk(root, filepath.Join(root, "b.png"), filepath.Join(root, ".hidden.png"), filepath.Join(root, "a"),
		filepath.Join(root, "notes.txt"), filepath.Join(root, "none"), filepath.Join(root, ".git"))
	require.Equal(t, []string{"b.png", ".hidden.png", "a/deep/er/x", "a/z.jpg", ".git/x.png"}, found)
	require.Len(t, skipped, 2)
	require.Equal(t, "notes.txt: not a picture: unknown format", skipped[0])
	require.True(t, strings.HasPrefix(skipped[1], "none: "), skipped[1])
}

func TestWalkLinks(t *testing.T) {
	root := plant(t, map[string][]byte{
		"real/a.png": aPicture, "real/up->..": nil, "real/self->.": nil, "real/sub/b.png": aPicture,
		"file.png->real/a.png": nil, "gone.png->nowhere": nil, "gone->nowhere": nil, "other->real/sub": nil, "other2->real/sub": nil,
	})
	found, skipped := walk(root, root)
	require.Equal(t, []string{"file.png", "other/b.png", "real/a.png", "real/sub/b.png"}, found)
	require.Len(t, skipped, 1)
	require.True(t, strings.HasPrefix(skipped[0], "gone.png: "), skipped[0])
}

// Folders that link to each other end, and soon.
func TestWalkLinkWeb(t *testing.T) {
	files := map[string][]byte{}
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for _, n := range names {
		files[n+"/p.png"] = aPicture
		for _, m := range names {
			files[n+"/to-"+m+"->../"+m] = nil
		}
	}
	root := plant(t, files)
	found, skipped := walk(root, root)
	require.Empty(t, skipped)
	require.LessOrEqual(t, len(found), len(names)*(len(names)+1))
	for _, n := range names {
		require.Contains(t, found, n+"/p.png")
	}
}

func TestWalkStops(t *testing.T) {
	root := plant(t, map[string][]byte{"a/1.png": aPicture, "a/2.png": aPicture, "b/3.png": aPicture})
	n := 0
	for range Walk([]string{root, root}, nil) {
		if n++; n == 2 {
			break
		}
	}
	require.Equal(t, 2, n)
}

// A folder of many files takes few bytes beside their names, which come sorted.
func TestNames(t *testing.T) {
	const n = 50_000
	var all names
	links := map[string]bool{}
	total := 0
	for i := range n {
		name := fmt.Sprintf("%0*d.jpg", 1+i%40, i*7919%n)
		if i%5 == 0 {
			name += "/"
		}
		links[name] = i%3 == 0
		all.add(name, links[name])
		total += len(name)
	}
	held := 8 * cap(all.places)
	for _, b := range all.blocks {
		held += cap(b)
	}
	require.Less(t, held, total+15*n, "10 each, and what append sets aside")
	all.sort()
	require.Len(t, all.places, n)
	for i, want := range slices.Sorted(maps.Keys(links)) {
		if name, link := all.entry(all.places[i]); string(name) != want || link != links[want] {
			t.Fatalf("entry %d is %q, link %v, not %q", i, name, link, want)
		}
	}
}

// What changes between being found and being read, or while a folder is walked, is an error of that file or none.
func TestWalkChanges(t *testing.T) {
	picture, err := os.ReadFile(filepath.Join(hostileDir, "png_16bit_gray.png"))
	require.NoError(t, err)
	root := plant(t, map[string][]byte{
		"a.png": picture, "b.png": picture, "c.png": picture, "d.png": picture, "e.png": picture, "f/x.png": picture, "g/y/z.png": picture, "h.png": picture,
	})
	path := func(name string) string { return filepath.Join(root, filepath.FromSlash(name)) }
	changes := map[string]func() error{
		"a.png": func() error { return os.Remove(path("a.png")) },
		"b.png": func() error { return os.Truncate(path("b.png"), 60) },
		"c.png": func() error { return os.WriteFile(path("c.png"), append(picture, make([]byte, 9999)...), 0o644) },
		"d.png": func() error { return errors.Join(os.Remove(path("d.png")), os.Mkdir(path("d.png"), 0o755)) },
		"e.png": func() error { return errors.Join(os.RemoveAll(path("f")), os.RemoveAll(path("g/y"))) },
	}
	got := map[string]string{}
	for p, err := range Walk([]string{root}, nil) {
		name, _ := filepath.Rel(root, p)
		name = filepath.ToSlash(name)
		if change := changes[name]; change != nil {
			require.NoError(t, change())
		}
		if err == nil {
			_, err = Load(p, Limits{})
		}
		switch {
		case err == nil:
			got[name] = "a picture"
		case errors.Is(err, fs.ErrNotExist):
			got[name] = "gone"
		default:
			got[name] = strings.TrimPrefix(err.Error(), p+": ")
		}
	}
	require.Equal(t, map[string]string{
		"a.png": "gone", "b.png": "PNG: invalid format: not enough pixel data", "c.png": "a picture", "d.png": "a folder, not a file", "e.png": "a picture", "f": "gone", "h.png": "a picture",
	}, got)
}

func TestLoadNamesTheFileOnce(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "no\nsuch.png"), Limits{})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "\n")
	require.Equal(t, 1, strings.Count(err.Error(), "such.png"))
	_, err = Load(t.TempDir(), Limits{})
	require.ErrorContains(t, err, "a folder, not a file")
}

func TestPrintable(t *testing.T) {
	for _, plain := range []string{"a b/ü.png", `back\slash "quoted"`} {
		require.Equal(t, plain, Printable(plain))
	}
	require.Equal(t, `"a\x1b[2J\xff.png"`, Printable("a\x1b[2J\xff.png"))
}
